"""The result of a benchmark, which can be printed, saved as JSON and drawn.

A benchmark is a module of this package. The first line of its docstring is its title, and it has a function
`measure(options) -> Result`. Ratios, against another program or a bound that was measured in the same run,
carry the meaning; seconds are for information.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

Cell = str | int | float | None


@dataclass(frozen=True)
class Options:
    """Options of a benchmark.

    Attributes:
        short: run a check of a few seconds instead of a full measurement.
        data: folder with cifar10.zip and imagenet-sample.zip, or None.
        peers: folder with checkouts of the other projects, or None.
        against: git revision of this project to compare with, or None for the benchmark's own choice.
    """

    short: bool = False
    data: Path | None = None
    peers: Path | None = None
    against: str | None = None


@dataclass(frozen=True)
class Table:
    """Rows under headings; floats are shown with three digits.

    Attributes:
        title: one line.
        columns: the headings, with units.
        rows: one cell per heading; None is an empty cell.
        note: a sentence or two that the reader has to know.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Plot:
    """Lines over one axis.

    Attributes:
        name: name of the file, without suffix.
        title: title of the plot.
        x, y: labels of the axes, with units.
        lines: points (x, y) by name.
        log_x, log_y: logarithmic axes.
    """

    name: str
    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True)
class Ratio:
    """A figure without a unit, which can be compared between machines.

    Attributes:
        name: "numerator / denominator".
        value: the figure.
        better: "higher" or "lower".
        goal: the promised bound, or None.
        slack: the factor by which a short run may be worse than the recorded figure. None if a short run does
            not measure the figure well enough to compare it.
    """

    name: str
    value: float
    better: str
    goal: float | None = None
    slack: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal

    def loss(self, recorded: float) -> float:
        """Return the factor by which it is worse than before; below 1 if it is better."""
        pair = (recorded, self.value) if self.better == "higher" else (self.value, recorded)
        return pair[0] / pair[1] if pair[1] > 0 else float("inf")


@dataclass(frozen=True)
class Result:
    """The tables, ratios and plots of a benchmark."""

    tables: Sequence[Table] = ()
    ratios: Sequence[Ratio] = ()
    plots: Sequence[Plot] = ()
    machine: Mapping[str, Any] = field(default_factory=lambda: machine())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Result:
        """Return the result from what `to_dict` returned."""
        return cls(
            [Table(**table) for table in found["tables"]],
            [Ratio(**ratio) for ratio in found["ratios"]],
            [Plot(**plot) for plot in found["plots"]],
            found["machine"],
        )


Measure = Callable[[Options], Result]


def machine() -> dict[str, Any]:
    """Return the machine: processor, cores, GPU with its driver, versions, and load."""
    import torch

    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "numba", "spikingjelly")},
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
        facts["cuda"] = torch.version.cuda
        facts["driver"] = _driver()
    return facts


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _driver() -> str:
    path = Path("/proc/driver/nvidia/version")
    return path.read_text().splitlines()[0] if path.exists() else "unknown"
