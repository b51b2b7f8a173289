"""A training run of a table or figure, named after its configuration."""

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
"""Keys that do not change which run it is."""


@dataclass(frozen=True)
class Job:
    """One run. Jobs with the same configuration are the same run, in whichever table.

    Attributes:
        file: its recipe.
        overrides: of the recipe, by ``section.key``.
        seed: of the run.
        runs: folder of the run directories.
        data: overrides of the recipe's ``data`` section: the training and test files.
        after: the run whose weights it starts from.
    """

    file: Path
    overrides: Mapping[str, Any]
    seed: int
    runs: Path
    data: Mapping[str, Any]
    after: Job | None = None

    @cached_property
    def name(self) -> str:
        """Name of the run: recipe, method, ratio, hash of the configuration, and seed.

        The folders of the data do not change it, but other data do.
        """
        sections = self._sections()
        content = {key: value for key, value in sections.items() if key not in _UNNAMED}
        content["data"] = {k: v for k, v in content["data"].items() if k not in ("train", "test", "workers")}
        if self.data:
            content["data"]["files"] = [Path(file).name for file in self.data.values()]
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
        """The validated configuration.

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
        """The command that trains it on any machine, also under torchrun."""
        values = {"name": self.name, "output": f"{self.runs}/{{name}}", "seed": self.seed}
        values |= self._values()
        if self.after is not None:
            values["network.weights"] = str(self.after.run_dir)
        words = [f"{key}={_as_yaml(value)}" for key, value in values.items()]
        return shlex.join(["sadp-dist", "train", str(self.file), *words, "--resume"])

    @property
    def depth(self) -> int:
        """The number of runs before it in its chain."""
        return 0 if self.after is None else 1 + self.after.depth

    def _values(self) -> dict[str, Any]:
        return {**{f"data.{key}": value for key, value in self.data.items()}, **self.overrides}

    def _sections(self) -> dict[str, Any]:
        """Return the recipe with its overrides, as plain mappings."""
        return read_sections(self.file, [f"{key}={_as_yaml(value)}" for key, value in self._values().items()])


def _as_yaml(value: Any) -> str:
    """Return a value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=2**30)
    return text.removesuffix("\n").removesuffix("\n...")
