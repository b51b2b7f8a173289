"""The base class of tables that combine pruning with other training methods (Section V-D)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from sadp_dist.reproduce.baselines import MISSED, missed, shares_of
from sadp_dist.reproduce.experiment import Experiment, accuracies, summary_of
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.methods import FULL, LABELS, pruned
from sadp_dist.reproduce.published import Published
from sadp_dist.reproduce.result import Cell, Result, ResultTable
from sadp_dist.reproduce.small_data import CIFAR10_PART

METHODS = ("random", "infobatch", "sadp")
Key = tuple[str, float]
"""Method and ratio."""
UNPRUNED: Key = ("full", 0.0)
Runs = Mapping[Key, Sequence[Job]]
"""The runs of a system, one per seed."""

IMAGES, SMALL_RATIO = "field-small.yaml", 0.5
"""The recipe for images at small scale, and the pruning ratio of most tables there."""


@dataclass(frozen=True)
class System:
    """A training method: a recipe with overrides.

    Attributes:
        name: in the tables.
        recipe: file name.
        ratios: pruning ratios.
        overrides: of the recipe, by ``section.key``.
        data: a key of ``SMALL_DATA``, or None for the data of the recipe.
        published: published accuracies.
        figures: published values of the second table's columns, in their order.
        methods: pruning methods.
    """

    name: str
    recipe: str
    ratios: Sequence[float]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    published: Mapping[Key, Published] = field(default_factory=dict)
    figures: Mapping[Key, Sequence[Published | None]] = field(default_factory=dict)
    methods: Sequence[str] = METHODS

    @property
    def keys(self) -> list[Key]:
        """Keys of full data, and of every method at every ratio."""
        return [UNPRUNED, *((method, ratio) for method in self.methods for ratio in self.ratios)]


def on_cifar10(
    setting: ExperimentSetting,
    names: Mapping[str, str],
    recipe: str,
    overrides: Callable[[str], Mapping[str, Any]],
    published: Mapping[str, Mapping[Key, Published]],
) -> list[System]:
    """Return a system per key, at 30, 50 and 70 %; at small scale on a part of CIFAR-10, at one ratio.

    Args:
        setting: as for ``jobs``.
        names: in the tables, by key.
        recipe: name of the recipe, with ``{}`` for the key.
        overrides: at small scale, the overrides of a key.
        published: published accuracies by key.
    """
    if setting.small:
        return [
            System(name, IMAGES, (SMALL_RATIO,), overrides(key), CIFAR10_PART, published[key])
            for key, name in names.items()
        ]
    return [
        System(name, recipe.format(key), (0.3, 0.5, 0.7), published=published[key])
        for key, name in names.items()
    ]


class Row(NamedTuple):
    """The runs and published values of a row of the second table.

    Attributes:
        jobs: runs of the row, one per seed.
        full: runs on full data, one per seed.
        known: published values, one per column.
        diverged: diverged runs by name.
    """

    jobs: Sequence[Job]
    full: Sequence[Job]
    known: Sequence[Published | None]
    diverged: Mapping[str, str]


class SystemsTable(Experiment):
    """Tables of systems, methods and ratios: accuracies, and other values of the runs.

    Attributes:
        about: subject, for the titles.
        figures: columns of the second table, and functions that read them from a run's last record.
        digits: number of decimals of these columns.
        apart: overrides that give the runs other names, so that no other table shares them.
    """

    about: str
    figures: ClassVar[Mapping[str, Callable[[Mapping[str, Any]], float | None]]] = {}
    digits: ClassVar[int] = 2
    apart: ClassVar[Mapping[str, Any]] = {}

    def systems(self, setting: ExperimentSetting) -> Sequence[System]:
        """Return the systems to compare."""
        raise NotImplementedError

    def where(self, setting: ExperimentSetting) -> str:
        """Return the networks and data, for the titles."""
        raise NotImplementedError

    def note(self, setting: ExperimentSetting) -> str:
        """Return the text below the first table, after the seeds."""
        return ""

    def jobs(self, setting: ExperimentSetting) -> list[Job]:
        return [
            self._job(setting, system, key, seed)
            for seed in setting.seeds
            for system in self.systems(setting)
            for key in system.keys
        ]

    def _job(self, setting: ExperimentSetting, system: System, key: Key, seed: int) -> Job:
        pruning = FULL if key == UNPRUNED else pruned(*key)
        overrides = {**system.overrides, **pruning, **self.apart}
        return setting.run(system.recipe, overrides, seed, system.data)

    def runs(self, setting: ExperimentSetting, system: System) -> Runs:
        """Return the runs of a system."""
        return {key: [self._job(setting, system, key, seed) for seed in setting.seeds] for key in system.keys}

    def result(self, setting: ExperimentSetting, diverged: Mapping[str, str]) -> Result:
        runs = {system.name: self.runs(setting, system) for system in self.systems(setting)}
        return Result(
            [
                self._accuracies(setting, runs, diverged),
                self._figures(setting, runs, diverged),
                *self.more(setting),
            ]
        )

    def more(self, setting: ExperimentSetting) -> list[ResultTable]:
        """Return further tables, from measurements other than the runs."""
        return []

    def _accuracies(
        self, setting: ExperimentSetting, runs: Mapping[str, Runs], diverged: Mapping[str, str]
    ) -> ResultTable:
        """Return the table of accuracies: a column per ratio, a row per system and method."""
        systems = self.systems(setting)
        ratios = sorted({ratio for system in systems for _, ratio in system.keys})
        rows: dict[str, list[Cell | None]] = {}
        for system in systems:
            of_system = runs[system.name]
            full = of_system[UNPRUNED]
            for method in ("full", *system.methods):
                row: list[Cell | None] = []
                for ratio in ratios:
                    jobs = of_system.get((method, ratio))
                    if jobs is None:
                        row.append(None)
                        continue
                    share = Cell(shares_of(jobs, full, diverged))
                    mark = MISSED if method != "full" and missed(jobs[0], share) else ""
                    known = system.published.get((method, ratio))
                    row.append(Cell(accuracies(jobs, diverged), known, mark=mark))
                rows[f"{system.name}, {LABELS[method]}"] = row
        note = setting.over_seeds
        if any(cell is not None and cell.mark for row in rows.values() for cell in row):
            note += f" {MISSED}: trained on more examples than the ratio allows (see below)."
        if said := self.note(setting):
            note += f" {said}"
        title = f"{self.title}: {self.about}, test accuracy in %, {self.where(setting)}"
        columns = [f"{ratio:.0%}" for ratio in ratios]
        return ResultTable(setting.titled(title), "pruning ratio", columns, rows, note)

    def _figures(
        self, setting: ExperimentSetting, runs: Mapping[str, Runs], diverged: Mapping[str, str]
    ) -> ResultTable:
        """Return the second table: a row per system, method and ratio."""
        columns = self.columns(setting)
        rows: dict[str, list[Cell | None]] = {}
        for system in self.systems(setting):
            full = runs[system.name][UNPRUNED]
            for (method, ratio), jobs in runs[system.name].items():
                name = f"{system.name}, {LABELS[method]}" + (f" {ratio:.0%}" if ratio else "")
                known = system.figures.get((method, ratio)) or [None] * len(columns)
                share = Cell(shares_of(jobs, full, diverged), digits=3)
                rows[name] = [share, *self.figures_of(setting, Row(jobs, full, known, diverged))]
        title = f"{self.title}: {self.about}, costs, {self.where(setting)}"
        return ResultTable(setting.titled(title), "run", ["examples relative to full data", *columns], rows)

    def columns(self, setting: ExperimentSetting) -> list[str]:
        """Return the headings of the second table after the share of examples."""
        return list(self.figures)

    def figures_of(self, setting: ExperimentSetting, row: Row) -> list[Cell | None]:
        """Return the cells of the second table after the share of examples."""
        return [
            figure_cell(row.jobs, read, row.diverged, paper, self.digits)
            for read, paper in zip(self.figures.values(), row.known, strict=True)
        ]


def figure_cell(
    jobs: Sequence[Job],
    read: Callable[[Mapping[str, Any]], float | None],
    diverged: Mapping[str, str],
    paper: Published | None = None,
    digits: int = 2,
) -> Cell | None:
    """Return the cell of a value of each run's last record; None if the runs do not have it."""
    values: list[float | None] = []
    for job in jobs:
        if job.name in diverged:
            values.append(None)
        elif (value := read(summary_of(job))) is None:
            return None
        else:
            values.append(value)
    return Cell(values, paper, digits)
