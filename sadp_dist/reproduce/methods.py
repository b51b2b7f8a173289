"""The compared methods, and their overrides of a recipe at a pruning ratio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sadp_dist.reproduce.published import BETWEEN, TABLE_II

LABELS = {
    "full": "full data",
    "reduced-epoch": "Reduced Epoch",
    "forgetting": "Forgetting",
    "el2n": "EL2N",
    "random": "random pruning",
    "infobatch": "InfoBatch",
    "sadp": "SADP",
}
"""The methods of Table III in its order."""

BASELINES = tuple(method for method in LABELS if method != "full")
FULL: dict[str, Any] = {"pruning.method": "full"}


TRACKING_EPOCHS = {
    "reproduce-small.yaml": 2,
    "tiny-imagenet-10-finetune.yaml": 1,
    "imagenet-sew-resnet34-finetune.yaml": 1,
    "imagenet-meta-spikeformer-31m-finetune.yaml": 1,
}
"""Recipe -> `pruning.tracking_epochs` of the methods that track, where it is not the default."""


def with_tracking(overrides: Mapping[str, Any], epochs: int | None) -> dict[str, Any]:
    """A recipe's overrides, with the epochs of tracking if their method tracks; None is the default."""
    tracks = overrides.get("pruning.method") in ("forgetting", "el2n", "grand")
    return {**({"pruning.tracking_epochs": epochs} if tracks and epochs is not None else {}), **overrides}


def pruned(method: str, ratio: float, **changed: Any) -> dict[str, Any]:
    """Return a recipe's overrides: SADP with Table II's β and r_max, other methods with the ratio only.

    InfoBatch may keep none below the mean, as the paper's ratios ask.

    Args:
        method: one of ``BASELINES``.
        ratio: r, a key of Table II, or 0.8.
        changed: other values for keys of the ``pruning:`` section.
    """
    values: dict[str, Any] = {"method": method, "ratio": ratio, "max_ratio": None, "min_probability": 0.0}
    values |= {"schedule": "paper", "floor": "absolute"}
    if method == "sadp":
        values["min_probability"], values["max_ratio"] = {**TABLE_II, **BETWEEN}[ratio]
    if method == "infobatch":
        values["least_kept"] = 0.0
    return {f"pruning.{key}": value for key, value in {**values, **changed}.items()}
