"""Table IV: ImageNet in two stages, with one and then four time steps, at a pruning ratio of 35 %."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sadp_dist.reproduce.experiment import Experiment, accuracies, register, summary_of
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import FULL, LABELS, pruned
from sadp_dist.reproduce.published import TABLE_IV, Published
from sadp_dist.reproduce.result import Cell, Result, ResultTable
from sadp_dist.reproduce.small_data import TINY_IMAGENET

RATIO = 0.35
NETWORKS = {
    "sew-resnet34": "imagenet-sew-resnet34-chain.yaml",
    "meta-spikeformer-31m": "imagenet-meta-spikeformer-31m-chain.yaml",
}
TITLES = {"sew-resnet34": "SEW-ResNet34", "meta-spikeformer-31m": "Meta-SpikeFormer-31M"}


@register("table4")
class TableIV(Experiment):
    """Two runs per method, the second from the weights of the first. They are timed, one at a time."""

    title = "Table IV"
    one_at_a_time = True

    def _methods(self, setting: ExperimentSetting) -> dict[str, Sequence[str]]:
        """Return the methods for each network."""
        if setting.small:
            return {TINY_IMAGENET: ("full", "sadp")}
        return {network: tuple(methods) for network, methods in TABLE_IV.items()}

    def _chain(self, setting: ExperimentSetting, network: str, method: str, seed: int) -> list[Job]:
        """Return the runs of a method, one per stage."""
        overrides: dict[str, Any] = FULL if method == "full" else pruned(method, RATIO)
        if setting.small:
            return setting.chain(f"{TINY_IMAGENET}-chain.yaml", overrides, seed, TINY_IMAGENET)
        return setting.chain(NETWORKS[network], overrides, seed)

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        return [
            job
            for seed in setting.seeds
            for network, methods in self._methods(setting).items()
            for method in methods
            for job in self._chain(setting, network, method, seed)
        ]

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        return Result([self._table(setting, network, diverged) for network in self._methods(setting)])

    def _table(self, setting: ExperimentSetting, network: str, diverged: Mapping[str, str]) -> ResultTable:
        methods = self._methods(setting)[network]
        chains = {
            method: [self._chain(setting, network, method, seed) for seed in setting.seeds]
            for method in methods
        }
        published = TABLE_IV["sew-resnet34" if setting.small else network]
        unit, seconds = ("s", 1) if setting.small else ("h", 3600)

        def time(method: str, *steps: int) -> list[float | None]:
            return [_seconds([chain[n] for n in steps], diverged, seconds) for chain in chains[method]]

        def accuracy(method: str, step: int) -> list[float | None]:
            return accuracies([chain[step] for chain in chains[method]], diverged)

        rows: dict[str, list[Cell | None]] = {}
        for method in methods:
            of_paper, hours = published.get(method, (None, None))
            shares = [
                None if ours is None or full is None else ours / full
                for ours, full in zip(time(method, 0, 1), time("full", 0, 1), strict=True)
            ]
            share = None if hours is None else Published(round(hours.mean / published["full"][1].mean, 2))
            rows[LABELS[method]] = [
                Cell(accuracy(method, 0)),
                Cell(time(method, 0), digits=1),
                Cell(accuracy(method, 1), of_paper),
                Cell(time(method, 1), digits=1),
                Cell(time(method, 0, 1), None if setting.small else hours, digits=1),
                Cell(shares, share, digits=3),
            ]
        columns = [
            "first stage, %",
            f"time, {unit}",
            "second stage, %",
            f"time, {unit}",
            f"total, {unit}",
            "time relative to full data",
        ]
        where = "ten classes of Tiny ImageNet, SEW-ResNet18" if setting.small else TITLES[network]
        title = setting.titled(f"Table IV: two stages at a pruning ratio of 35 %, {where}")
        note = "Test accuracy, and time of planning and training, one run at a time."
        if setting.small:
            note += " The paper's values are for SEW-ResNet34 on ImageNet."
        else:
            note += " Time of one process; with several GPUs, multiplied by their number."
        return ResultTable(title, "method", columns, rows, note)


def _seconds(jobs: Sequence[Job], diverged: Mapping[str, str], unit: float) -> float | None:
    """Return the total time of runs in a unit of so many seconds; None if one diverged."""
    if any(job.name in diverged for job in jobs):
        return None
    total: float = sum(summary_of(job)["total_seconds"] for job in jobs)
    return total / unit
