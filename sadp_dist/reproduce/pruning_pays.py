"""Does pruning pay? Pruning rules at equal numbers of examples, against plain training for fewer epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sadp_dist.reproduce.baselines import shares_of
from sadp_dist.reproduce.experiment import Experiment, accuracies, register
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import FULL, pruned
from sadp_dist.reproduce.result import Cell, Result, ResultTable
from sadp_dist.reproduce.small_data import CIFAR10_POOLED, MNIST_NOISY, MNIST_PART, MNIST_RARE, SPOKEN_DIGITS

FULL_DATA, FEWER, RS2, PLUS = "full data", "fewer epochs", "rs2", "sadp-plus"
PUBLISHED = "SADP as published"
METHODS = (FEWER, RS2, "random pruning", "InfoBatch", PUBLISHED, PLUS)
UNBIASED, EQUAL = "without adaptive weights (θ = 1)", "equal weights throughout (θ = 0)"
WITHOUT: Mapping[str, Mapping[str, Any]] = {
    "without averages": {"pruning.memory": 0.0},
    "without carried draws": {"pruning.scheme": "systematic"},
    UNBIASED: {"pruning.weight_exponent": 1.0},
    EQUAL: {"pruning.weight_exponent": 0.0},
    "scores of all layers": {"scoring.layers": "all"},
}
"""sadp-plus with one of its parts changed, and the overrides that do so."""
ALL = (*METHODS, *WITHOUT)
BASIC = (FEWER, RS2, PUBLISHED, PLUS)
HARD_DATA = (FEWER, RS2, PLUS, UNBIASED, EQUAL)


class Task(NamedTuple):
    """A dataset with its recipe.

    Attributes:
        name: in the titles.
        recipe: file name.
        data: a key of ``SMALL_DATA``.
        grid: the methods compared at each pruning ratio.
        rate: the learning rate, chosen for each method on seed 7 at r = 0.9: on MNIST as it is from 0.1, 0.2,
            0.4 and 0.8, on CIFAR-10 from 0.1, 0.2 and 0.4, for spoken digits from 0.00125, 0.0025 and 0.005;
            for full data from 0.2 and 0.4. Changed forms of sadp-plus have its rate.
        rates: those of the methods that have another one than `rate`.
        full: train on full data too.
    """

    name: str
    recipe: str
    data: str
    grid: Mapping[float, Sequence[str]]
    rate: float
    rates: Mapping[str, float] = {}
    full: bool = False

    @property
    def methods(self) -> list[str]:
        """All methods, in the order of the rows."""
        return [method for method in ALL if any(method in methods for methods in self.grid.values())]


_RATES = {RS2: 0.2, "InfoBatch": 0.2}
MNIST = Task(
    "MNIST, 20,000 images of 14x14",
    "pays-mnist.yaml",
    MNIST_PART,
    {0.5: BASIC, 0.7: (FEWER, RS2, "random pruning", PUBLISHED, PLUS, UNBIASED, EQUAL), 0.9: ALL},
    0.4,
    _RATES,
    full=True,
)
CIFAR10 = Task(
    "CIFAR-10, 10,000 images of 16x16",
    "pays-cifar10.yaml",
    CIFAR10_POOLED,
    {0.5: BASIC, 0.7: BASIC, 0.9: (*BASIC, EQUAL)},
    0.2,
    {PUBLISHED: 0.1},
    full=True,
)
SPOKEN = Task(
    "spoken digits, 2,400 recordings",
    "pays-spoken-digits.yaml",
    SPOKEN_DIGITS,
    {0.7: BASIC, 0.9: (*BASIC, EQUAL)},
    0.00125,
    {RS2: 0.0025},
    full=True,
)
TASKS = (
    MNIST,
    Task("MNIST, a tenth of the labels wrong", "pays-mnist.yaml", MNIST_NOISY, {0.9: HARD_DATA}, 0.4, _RATES),
    Task("MNIST, half of the classes rare", "pays-mnist.yaml", MNIST_RARE, {0.9: HARD_DATA}, 0.4, _RATES),
    CIFAR10,
    SPOKEN,
)


def overrides_of(method: str, ratio: float) -> dict[str, Any]:
    """Return the overrides of a recipe for a row of the table."""
    plain = {"pruning.ratio": ratio}
    if method == FULL_DATA:
        return FULL
    if method == PUBLISHED:
        return {**pruned("sadp", ratio, scheme="bernoulli"), "scoring.bias": False}
    names = {FEWER: "reduced-epoch", RS2: "rs2", "random pruning": "random", "InfoBatch": "infobatch"}
    if method in names:
        return {**plain, "pruning.method": names[method]}
    return {**plain, "pruning.method": "sadp-plus", **WITHOUT.get(method, {})}


def job_of(
    setting: ExperimentSetting,
    task: Task,
    method: str,
    ratio: float,
    seed: int,
    more: Mapping[str, Any] | None = None,
) -> Job:
    """Return a run of a task; `more` are further overrides of its recipe."""
    rate = {"training.learning_rate": task.rates.get(method, task.rate)}
    return setting.run(task.recipe, {**overrides_of(method, ratio), **rate, **(more or {})}, seed, task.data)


@register("pays")
class PruningPays(Experiment):
    """Runs of all methods on each task, which are small at every scale."""

    title = "Does pruning pay?"

    def _jobs_of(self, setting: ExperimentSetting, task: Task, method: str, ratio: float) -> list[Job]:
        """Return the runs of a row at a ratio, one for each seed."""
        return [job_of(setting, task, method, ratio, seed) for seed in setting.seeds]

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        found: list[Job] = []
        for task in TASKS:
            for ratio in sorted(task.grid, reverse=True):
                for method in task.grid[ratio]:
                    found += self._jobs_of(setting, task, method, ratio)
            if task.full:
                found += self._jobs_of(setting, task, FULL_DATA, 0.0)
        return sorted(found, key=lambda job: job.seed)

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        return Result([table for task in TASKS for table in self._tables(setting, task, diverged)])

    def _tables(
        self, setting: ExperimentSetting, task: Task, diverged: Mapping[str, str]
    ) -> Sequence[ResultTable]:
        """Return accuracies, differences to the better baseline, and with full data shares of examples."""
        full = self._jobs_of(setting, task, FULL_DATA, 0.0) if task.full else None
        found: dict[tuple[str, float], Cell] = {}
        shares: dict[tuple[str, float], Cell] = {}
        for ratio, methods in task.grid.items():
            for method in methods:
                jobs = self._jobs_of(setting, task, method, ratio)
                found[method, ratio] = Cell(accuracies(jobs, diverged), error_of_mean=True)
                if full is not None:
                    shares[method, ratio] = Cell(
                        shares_of(jobs, full, diverged), digits=3, error_of_mean=True
                    )
        differences = {
            (method, ratio): _difference(cell, better_baseline(found, ratio))
            for (method, ratio), cell in found.items()
        }
        columns = [f"{ratio:.0%}" for ratio in task.grid]
        seeds = ", ".join(map(str, setting.seeds))

        def rows_of(cells: Mapping[tuple[str, float], Cell]) -> dict[str, list[Cell | None]]:
            return {method: [cells.get((method, ratio)) for ratio in task.grid] for method in task.methods}

        accuracy = ResultTable(
            f"Test accuracy in %, {task.name}, small scale",
            "pruning ratio",
            columns,
            rows_of(found),
            f"Mean over seeds {seeds}, and its standard error.",
        )
        difference = ResultTable(
            f"Difference to the better of fewer epochs and rs2 in points, {task.name}, small scale",
            "pruning ratio",
            columns,
            rows_of(differences),
            "Mean of the differences of runs with the same seed, and its standard error.",
        )
        if full is None:
            return [accuracy, difference]
        full_cell = Cell(accuracies(full, diverged), error_of_mean=True)
        with_full: dict[str, list[Cell | None]] = {FULL_DATA: [full_cell, *[None] * len(columns)]}
        with_full |= {method: [None, *row] for method, row in accuracy.rows.items()}
        share = ResultTable(
            f"Examples trained on, relative to full data, {task.name}, small scale",
            "pruning ratio",
            columns,
            rows_of(shares),
        )
        return [replace(accuracy, columns=["0%", *columns], rows=with_full), difference, share]


def better_baseline(found: Mapping[tuple[str, float], Cell], ratio: float) -> Cell:
    """Return the accuracies of fewer epochs or of rs2, whose mean is higher."""
    return max(found[FEWER, ratio], found[RS2, ratio], key=lambda cell: cell.mean)


def _difference(cell: Cell, baseline: Cell) -> Cell:
    pairs = zip(cell.measured, baseline.measured, strict=True)
    return Cell(
        [None if ours is None or theirs is None else ours - theirs for ours, theirs in pairs],
        error_of_mean=True,
    )
