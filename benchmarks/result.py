"""What a benchmark found, in a form that can be printed, kept as JSON and drawn.

A benchmark is a module of this package with a docstring, whose first line is its title, and a function
`measure(options) -> Result`. Figures that say something are ratios, against a peer or a bound that was
measured in the same run; seconds are there to be read beside them.
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
    """What a benchmark is asked for.

    Attributes:
        short: a check in a few seconds, not a figure.
        data: folder with cifar10.zip and imagenet-sample.zip, or None.
        peers: folder with checkouts of the projects that are measured beside this one, or None.
    """

    short: bool = False
    data: Path | None = None
    peers: Path | None = None


@dataclass(frozen=True)
class Table:
    """Rows under headings; floats are shown with three digits.

    Attributes:
        title: one line.
        columns: the headings, with units.
        rows: one cell for each heading; None is shown as nothing.
        note: what a reader has to know, a sentence or two.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Plot:
    """Lines over one axis.

    Attributes:
        name: of its file, without the ending.
        title: on top.
        x, y: what is on the axes, with units.
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
    """A figure that has no unit, and so can be compared between machines.

    Attributes:
        name: what is divided by what.
        value: the figure.
        better: "higher" or "lower".
        goal: the bound that was promised, None for none.
        slack: by which factor a short run may be worse than the recorded figure before that counts as a loss;
            None where a short run does not measure it well enough to be compared.
    """

    name: str
    value: float
    better: str
    goal: float | None = None
    slack: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal

    def loss(self, recorded: float) -> float:
        """By which factor it is worse than it was; below 1 where it is better."""
        pair = (recorded, self.value) if self.better == "higher" else (self.value, recorded)
        return pair[0] / pair[1] if pair[1] > 0 else float("inf")


@dataclass(frozen=True)
class Result:
    """All that a benchmark found."""

    tables: Sequence[Table] = ()
    ratios: Sequence[Ratio] = ()
    plots: Sequence[Plot] = ()
    machine: Mapping[str, Any] = field(default_factory=lambda: machine())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Result:
        """The reverse of `to_dict`."""
        return cls(
            [Table(**table) for table in found["tables"]],
            [Ratio(**ratio) for ratio in found["ratios"]],
            [Plot(**plot) for plot in found["plots"]],
            found["machine"],
        )


Measure = Callable[[Options], Result]


def machine() -> dict[str, Any]:
    """What was measured on: processor, cores, GPU with its driver, versions, and how busy it was."""
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
