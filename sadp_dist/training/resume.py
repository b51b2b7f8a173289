"""What a run directory holds, and whether a configuration may continue it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from sadp_dist.errors import UsageError
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.config import TrainConfig
from sadp_dist.training.config_file import CONFIG_FILE, first_difference, read_saved
from sadp_dist.training.data_fingerprint import data_fingerprints, recorded_data
from sadp_dist.training.extension import check_extension
from sadp_dist.training.metrics import METRICS_FILE, read_metrics
from sadp_dist.training.processes import Process

Existing = Literal["refuse", "resume", "extend", "overwrite"]
"""What to do with a run that is in the run directory: "extend" resumes it with more epochs."""

ROLES: tuple[Literal["train", "test"], ...] = ("train", "test")
MAY_CHANGE = {
    "training": ("evaluate_every", "checkpoint_minutes", "checkpoint_every", "keep_checkpoints"),
    "data": ("train", "test", "train_split", "test_split", "workers"),
}
"""Keys that a resumed run may change. The examples of `train` and `test` may not change, only their paths."""


def is_done(run_dir: Path) -> bool:
    """Return whether a directory holds a complete run."""
    records = read_metrics(run_dir) if (run_dir / METRICS_FILE).exists() else []
    return bool(records) and records[-1]["event"] == "end"


def is_longer(config: TrainConfig) -> bool:
    """Return whether the run directory holds a run of fewer epochs."""
    earlier = earlier_run(config)
    return earlier is not None and earlier.training.epochs < config.training.epochs


def existing_by_stage(stages: Sequence[TrainConfig], existing: Existing) -> list[Existing]:
    """Return what to do with the run of each stage: a stage that has not begun has nothing to extend."""
    begun = [(config.run_dir / METRICS_FILE).exists() for config in stages]
    if existing != "extend" or not any(begun):
        return [existing] * len(stages)
    return ["extend" if has_run else "resume" for has_run in begun]


def check_stages(stages: Sequence[TrainConfig]) -> None:
    """Refuse to extend a stage if a later one has begun with its weights.

    Raises:
        UsageError: naming both.
    """
    for config, after in pairwise(stages):
        if is_longer(config) and (after.run_dir / METRICS_FILE).exists():
            raise UsageError(
                f"--extend: training.epochs={config.training.epochs} extends {config.run_dir}, but "
                f"{after.run_dir} has begun with its weights; extend the last stage alone, or set output=DIR"
            )


def earlier_run(config: TrainConfig) -> TrainConfig | None:
    """Return the configuration of the run in the run directory; None if there is no run.

    Raises:
        UsageError: its configuration cannot be read.
    """
    if not (config.run_dir / METRICS_FILE).exists():
        return None
    try:
        return read_saved(config.run_dir / CONFIG_FILE)
    except UsageError as error:
        raise UsageError(f"{error}; use --overwrite") from None


def check_run_dir(config: TrainConfig, existing: Existing, process: Process) -> None:
    """Refuse a run directory that holds another run, or none to extend; checks on rank 0."""
    run_dir = config.run_dir
    if existing == "overwrite" or not process.is_first:
        return
    if not (run_dir / METRICS_FILE).exists():
        if existing == "extend":
            raise UsageError(f"--extend: {run_dir} holds no run; name its directory with output=DIR")
        return
    if existing == "refuse":
        raise UsageError(
            f"{run_dir} already holds a run; add --resume to continue it, --overwrite to replace it, or set "
            "output=DIR"
        )
    earlier = earlier_run(config)
    assert earlier is not None
    if existing == "extend":
        check_extension(earlier, config)
    then, now = (_what_must_agree(one, existing) for one in (earlier, config))
    difference = first_difference(then, now)
    if difference is not None and difference.startswith("training.epochs:"):
        more = config.training.epochs > earlier.training.epochs
        raise UsageError(
            f"{run_dir} was run with another number of epochs ({difference}); "
            + ("add --extend to train on" if more else "a run cannot be shortened; use the same number")
        )
    if difference is not None:
        raise UsageError(
            f"{run_dir} was run with another configuration ({difference}); --resume needs the same "
            "configuration"
        )
    if _paths(earlier) != _paths(config):
        check_examples(config, earlier, {role: data_fingerprints(config.data, role) for role in ROLES})


def check_examples(
    config: TrainConfig, earlier: TrainConfig, fingerprints: Mapping[str, Mapping[str, str]]
) -> None:
    """Refuse data with other examples than those of the run in the run directory.

    Args:
        config: of the job.
        earlier: of the run.
        fingerprints: of "train" and "test" now, by kind.

    Raises:
        UsageError: the examples differ; or an older version recorded no fingerprints, and its data is gone.
    """
    recorded = recorded_data(config.run_dir)
    for role in ROLES:
        then, now = getattr(earlier.data, role), getattr(config.data, role)
        if recorded is not None:
            known = recorded[role]
        elif then == now:
            continue
        else:
            known = _fingerprints_of_earlier(config, earlier, role)
        if not _same(known, fingerprints[role]):
            before = "" if then == now else f", which was data.{role}={then!r}"
            raise UsageError(
                f"data.{role}={now!r} does not hold the examples that {config.run_dir} was run with{before}; "
                "--resume needs the same examples, under any path"
            )


def _fingerprints_of_earlier(
    config: TrainConfig, earlier: TrainConfig, role: Literal["train", "test"]
) -> dict[str, str]:
    try:
        return data_fingerprints(earlier.data, role)
    except (UsageError, OSError):
        then, now = getattr(earlier.data, role), getattr(config.data, role)
        raise UsageError(
            f"data.{role}={now!r} cannot be compared with data.{role}={then!r}, which {config.run_dir} was "
            "run with: an older version recorded nothing about the data, and it is gone; put it back there"
        ) from None


def _same(known: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Return whether the strongest fingerprint that both have is the same."""
    return next((known[kind] == now[kind] for kind in known if kind in now), False)


def _paths(config: TrainConfig) -> tuple[str | None, ...]:
    data = config.data
    return data.train, data.test, data.train_split, data.test_split


def _what_must_agree(config: TrainConfig, existing: Existing) -> dict[str, Any]:
    """Return the configuration without the keys that a resumed run may change."""
    plain = {**config.to_dict(), "output": None, "store": None, "tracking": None, "imports": None}
    for section, keys in MAY_CHANGE.items():
        plain[section] = {key: value for key, value in plain[section].items() if key not in keys}
    weights = config.network.weights
    if weights is not None and Checkpoints(config.run_dir).all():  # those of the start may have moved
        plain["network"] = {**plain["network"], "weights": Path(weights).name}
    if existing == "extend":
        for section in ("training", "pruning"):
            plain[section] = {**plain[section], "epochs": None}
    return plain
