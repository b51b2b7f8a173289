"""Table VIII: pruning with parallel neurons, reversible networks and networks without normalisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sadp_dist.reproduce.baselines import OF_PART
from sadp_dist.reproduce.experiment import register, summary_of
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.published import Published
from sadp_dist.reproduce.published_systems import TABLE_VIII
from sadp_dist.reproduce.result import Cell
from sadp_dist.reproduce.small_data import CIFAR10_PART, DIGITS
from sadp_dist.reproduce.systems import IMAGES, UNPRUNED, Key, Row, System, SystemsTable

RATIO = 0.35
SADP: Key = ("sadp", RATIO)
RECIPES = {
    "psn": ("PSN", "imagenet-sew-resnet18-psn.yaml"),
    "t-revsnn": ("T-RevSNN", "imagenet-t-revsnn-resnet18.yaml"),
}
"""Name and recipe of each of the paper's systems."""

OF_DIGITS = "field-small-digits.yaml"
NEURONS: dict[str, dict[str, Any]] = {
    "PSN": {"kind": "psn"},
    "masked PSN": {"kind": "masked_psn", "order": 2},
    "sliding PSN": {"kind": "sliding_psn", "order": 2},
}
NORM_FREE: dict[str, dict[str, Any]] = {
    "VGG11 (WS), digits": {
        "network.name": "vgg11_ws",
        "network.neuron": {"decay": 0.5},
        "training.epochs": 8,
        "training.evaluate_every": 8,
        "training.batch_size": 32,
        "training.learning_rate": 0.0005,
        "training.loss": "tet",
        "training.tet_lambda": 0.0,
    },
    "NF-ResNet34, digits": {
        "network.name": "nf_resnet34",
        "network.neuron": {"decay": 0.5},
        "training.epochs": 3,
        "training.evaluate_every": 3,
        "training.learning_rate": 0.0005,
    },
}
"""Networks with scaled weight standardisation, with learning rates and epochs that train them well."""


@register("table8")
class TableVIII(SystemsTable):
    """Efficient networks. Its runs are timed, one at a time."""

    title = "Table VIII"
    about = "efficient networks at a pruning ratio of 35 %"
    one_at_a_time = True
    # Another value than the default gives its runs other names, so that none is shared with untimed tables.
    apart: ClassVar[Mapping[str, Any]] = {"training.keep_checkpoints": 1}

    def systems(self, setting: ExperimentSetting) -> Sequence[System]:
        if not setting.small:
            return [
                System(name, recipe, (RATIO,), methods=("sadp",), **_published(key))
                for key, (name, recipe) in RECIPES.items()
            ]
        parallel = [
            System(
                name,
                IMAGES,
                (RATIO,),
                {
                    "network.time_steps": 4,
                    **{f"network.neuron.{key}": value for key, value in neuron.items()},
                },
                CIFAR10_PART,
                **(_published("psn") if name == "PSN" else {}),
            )
            for name, neuron in NEURONS.items()
        ]
        reversible = System("T-RevSNN, digits", OF_DIGITS, (RATIO,), {}, DIGITS, **_published("t-revsnn"))
        free = [System(name, OF_DIGITS, (RATIO,), overrides, DIGITS) for name, overrides in NORM_FREE.items()]
        return [*parallel, reversible, *free]

    def where(self, setting: ExperimentSetting) -> str:
        return f"{OF_PART}, and handwritten digits" if setting.small else "ImageNet, T = 4"

    def note(self, setting: ExperimentSetting) -> str:
        if not setting.small:
            return "Time of one process; with several GPUs, multiplied by their number."
        return (
            "The PSN network has three convolutions, and T-RevSNN is narrow. The paper's values are for "
            "SEW-ResNet18 and T-RevSNN ResNet18 (512) on ImageNet."
        )

    def columns(self, setting: ExperimentSetting) -> list[str]:
        return ["time, s" if setting.small else "time, h", "time relative to full data"]

    def figures_of(self, setting: ExperimentSetting, row: Row) -> list[Cell | None]:
        seconds, of_full = ([_seconds(job, row.diverged) for job in some] for some in (row.jobs, row.full))
        shares = [
            None if ours is None or theirs is None else ours / theirs
            for ours, theirs in zip(seconds, of_full, strict=True)
        ]
        hours, share = row.known
        unit = 1 if setting.small else 3600
        times = [None if each is None else each / unit for each in seconds]
        return [Cell(times, None if setting.small else hours, digits=1), Cell(shares, share, digits=3)]


def _seconds(job: Job, diverged: Mapping[str, str]) -> float | None:
    """Return the time of planning and training; None if the run diverged."""
    return None if job.name in diverged else summary_of(job)["total_seconds"]


def _published(key: str) -> dict[str, Any]:
    """Return the paper's accuracies, times and relative times."""
    (full, hours), (pruned, fewer) = (TABLE_VIII[key][method] for method in ("full", "sadp"))
    share = Published(round(fewer.mean / hours.mean, 3))
    return {
        "published": {UNPRUNED: full, SADP: pruned},
        "figures": {UNPRUNED: (hours, Published(1.0)), SADP: (fewer, share)},
    }
