"""Several runs in one file, each of which begins with the weights that the one before it ended with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sadp_dist.errors import UsageError
from sadp_dist.training.config import TrainConfig
from sadp_dist.training.config_file import load_config, read_sections

STAGES = "stages"


def load_stages(
    path: str | Path, overrides: Sequence[str] = (), imports: Sequence[str] = (), resume: bool = False
) -> list[TrainConfig]:
    """Read the runs of a file: one, or as many as its ``stages:`` name.

        stages:
          pretrain: imagenet-sew-resnet34.yaml
          finetune: imagenet-sew-resnet34-finetune.yaml

    The files are named from the folder of the first one. ``network.weights`` of each run but the first is
    the directory of the run before it.

    Args:
        path: the file.
        overrides: ``section.key=value`` for every run, or with a stage's name before it for that one. The
            value of ``name`` gets the stage's name behind it.
        imports: the user's own modules, for every run.
        resume: as of ``load_config``.

    Returns:
        at least one configuration.

    Raises:
        UsageError: as ``load_config``; or ``stages:`` names no files, stands beside other sections, calls a
            stage like a section, or has two runs in one directory.
    """
    raw = read_sections(path)
    if STAGES not in raw:
        return [load_config(path, overrides, imports, resume)]
    files = raw[STAGES]
    if len(raw) > 1:
        others = ", ".join(key for key in raw if key != STAGES)
        raise UsageError(
            f"{path}: stages: stands alone, here beside {others}; put these in the stages' files"
        )
    if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()) or not files:
        raise UsageError(f"{path}: stages: must name files, such as pretrain: FILE.yaml; got {files!r}")
    for stage in files:
        if stage in TrainConfig.model_fields:
            raise UsageError(f"{path}: a stage cannot be called {stage!r}, as a section is; choose another")
    stages: list[TrainConfig] = []
    for stage, file in files.items():
        chosen = [of_stage for override in overrides for of_stage in _of_stage(override, stage, files)]
        if stages:
            chosen.insert(0, f"network.weights={stages[-1].run_dir}")
        stages.append(load_config(Path(path).parent / file, chosen, imports, resume))
    directories = [config.run_dir for config in stages]
    for directory in directories:
        if directories.count(directory) > 1:
            raise UsageError(
                f"{path}: two stages have the directory {directory}; give them names of their own"
            )
    return stages


def _of_stage(override: str, stage: str, stages: Sequence[str] | dict[str, str]) -> list[str]:
    """What an override of the whole file means to one of its stages: itself, or nothing."""
    first, _, rest = override.partition(".")
    if first in stages:
        return [rest] if first == stage else []
    return [f"{override}-{stage}" if override.startswith("name=") else override]
