"""Table IV: ImageNet in two steps, one time step and then four, at a pruning ratio of 35 %."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sadp_dist.reproduce.experiment import Experiment, accuracies, register, summary_of
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import FULL, LABELS, pruned
from sadp_dist.reproduce.paper import TABLE_IV, Published
from sadp_dist.reproduce.result import Cell, Result, Table
from sadp_dist.reproduce.setting import TINY_IMAGENET, Setting

RATIO = 0.35
NETWORKS = {
    "sew-resnet34": "imagenet-sew-resnet34-chain.yaml",
    "meta-spikeformer-31m": "imagenet-meta-spikeformer-31m-chain.yaml",
}
TITLES = {"sew-resnet34": "SEW-ResNet34", "meta-spikeformer-31m": "Meta-SpikeFormer-31M"}


@register("table4")
class TableIV(Experiment):
    """Two runs a method, the second from the weights of the first; each has the machine for itself."""

    title = "Table IV"
    one_at_a_time = True

    def _methods(self, setting: Setting) -> dict[str, Sequence[str]]:
        """Those of each network."""
        if setting.small:
            return {TINY_IMAGENET: ("full", "infobatch", "sadp")}
        return {network: tuple(methods) for network, methods in TABLE_IV.items()}

    def _chain(self, setting: Setting, network: str, method: str, seed: int) -> list[Job]:
        """The runs of a method, one for each step."""
        overrides: dict[str, Any] = FULL if method == "full" else pruned(method, RATIO)
        if setting.small:
            return setting.chain(f"{TINY_IMAGENET}-chain.yaml", overrides, seed, TINY_IMAGENET)
        return setting.chain(NETWORKS[network], overrides, seed)

    def jobs(self, setting: Setting) -> list[Job]:
        return [
            job
            for seed in setting.seeds
            for network, methods in self._methods(setting).items()
            for method in methods
            for job in self._chain(setting, network, method, seed)
        ]

    def result(self, setting: Setting, diverged: Mapping[str, str]) -> Result:
        tables = []
        for network, methods in self._methods(setting).items():
            published = TABLE_IV["sew-resnet34"] if setting.small else TABLE_IV[network]
            chains = {
                method: [self._chain(setting, network, method, seed) for seed in setting.seeds]
                for method in methods
            }
            unit, seconds = ("s", 1.0) if setting.small else ("h", 3600.0)
            rows: dict[str, list[Cell | None]] = {}
            for method, by_seed in chains.items():
                accuracy, hours = published.get(method, (None, None))
                ratio = None if hours is None else round(hours / published["full"][1], 2)
                cells: list[Cell | None] = [
                    Cell(_time(by_seed, n, diverged, seconds), digits=1) for n in (0, 1)
                ]
                first, last = (accuracies([chain[n] for chain in by_seed], diverged) for n in (0, 1))
                total = _time(by_seed, None, diverged, seconds)
                of_full = _time(chains["full"], None, diverged, seconds)
                ratios = [a and b and a / b for a, b in zip(total, of_full, strict=True)]
                rows[LABELS[method]] = [
                    Cell(first),
                    cells[0],
                    Cell(last, _published(accuracy)),
                    cells[1],
                    Cell(total, None if setting.small else _published(hours), digits=1),
                    Cell(ratios, _published(ratio), digits=3),
                ]
            columns = [
                "first step, %",
                f"time, {unit}",
                "second step, %",
                f"time, {unit}",
                f"both, {unit}",
                "of full data's time",
            ]
            where = "ten classes of Tiny ImageNet, SEW-ResNet18" if setting.small else TITLES[network]
            title = setting.titled(f"Table IV: two steps at a pruning ratio of 35 %, {where}")
            note = "Test accuracy, and time to plan and to train, one run at a time."
            if setting.small:
                note += " The paper's figures are those of SEW-ResNet34 on ImageNet."
            else:
                note += " Times are of one process: on several GPUs, times their number."
            tables.append(Table(title, "method", columns, rows, note))
        return Result(tables)


def _published(mean: float | None) -> Published | None:
    return None if mean is None else Published(mean)


def _time(
    chains: Sequence[Sequence[Job]], step: int | None, diverged: Mapping[str, str], unit: float
) -> list[float | None]:
    """Time of each seed's run of a step, or of all steps; None where one has no end."""
    times: list[float | None] = []
    for chain in chains:
        jobs = chain if step is None else [chain[step]]
        seconds: Callable[[Job], float] = lambda job: summary_of(job)["total_seconds"]  # noqa: E731
        times.append(None if any(job.name in diverged for job in jobs) else sum(map(seconds, jobs)) / unit)
    return times
