"""A run that a table or figure needs: an ordinary training run, named by what is in its configuration."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from sadp_dist.training.config import TrainConfig, parse_config
from sadp_dist.training.config_file import read_sections

_UNNAMED = ("name", "output", "seed", "store", "tracking")
"""Keys that make no other run of it."""


@dataclass(frozen=True)
class Job:
    """One run. Two jobs with the same configuration are the same run, whichever table they are for.

    Attributes:
        file: its recipe.
        overrides: values in place of the recipe's, by ``section.key``.
        seed: of the run.
        runs: the folder of the runs' directories.
        data: where the training and test examples are, in place of what the recipe names.
        after: the run with whose weights it begins.
    """

    file: Path
    overrides: Mapping[str, Any]
    seed: int
    runs: Path
    data: Mapping[str, Any]
    after: Job | None = None

    @cached_property
    def name(self) -> str:
        """The recipe, the method and its ratio, a hash of all of the configuration, and the seed."""
        sections = self._sections()
        content = {key: value for key, value in sections.items() if key not in _UNNAMED}
        content["data"] = {k: v for k, v in content["data"].items() if k not in ("train", "test", "workers")}
        if self.after is not None:
            content["network"] = {**content["network"], "weights": self.after.name}
        text = json.dumps(content, sort_keys=True)
        pruning = sections.get("pruning") or {}
        method = pruning.get("method", "sadp")
        ratio = "" if method == "full" else f"-r{pruning.get('ratio', 0.5):g}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"{self.file.stem}-{method}{ratio}-{digest}-seed{self.seed}"

    @cached_property
    def config(self) -> TrainConfig:
        """The whole run, checked.

        Raises:
            UsageError: as ``load_config``.
        """
        named = {
            **self._sections(),
            "name": self.name,
            "output": str(self.runs / "{name}"),
            "seed": self.seed,
        }
        if self.after is not None:
            named["network"] = {**named["network"], "weights": str(self.after.run_dir)}
        return parse_config(named, source=str(self.file))

    @property
    def run_dir(self) -> Path:
        return self.runs / self.name

    @property
    def command(self) -> str:
        """What trains it on any machine, under torchrun too."""
        values = {"name": self.name, "output": f"{self.runs}/{{name}}", "seed": self.seed}
        values |= self._values()
        if self.after is not None:
            values["network.weights"] = str(self.after.run_dir)
        words = [f"{key}={_as_yaml(value)}" for key, value in values.items()]
        return shlex.join(["sadp-dist", "train", str(self.file), *words, "--resume"])

    @property
    def depth(self) -> int:
        """How many runs come before it."""
        return 0 if self.after is None else 1 + self.after.depth

    def _values(self) -> dict[str, Any]:
        return {**{f"data.{key}": value for key, value in self.data.items()}, **self.overrides}

    def _sections(self) -> dict[str, Any]:
        """The recipe with its overrides, as a file would have them."""
        return read_sections(self.file, [f"{key}={_as_yaml(value)}" for key, value in self._values().items()])


def _as_yaml(value: Any) -> str:
    """A value in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=2**30)
    return text.removesuffix("\n").removesuffix("\n...")
