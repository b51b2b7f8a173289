"""Values of the paper's tables (arXiv:2510.04098): accuracies in percent, times in hours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A published value.

    Attributes:
        mean: over the runs.
        sd: standard deviation over three runs; None for a single run.
    """

    mean: float
    sd: float | None = None

    def __str__(self) -> str:
        return f"{self.mean:.2f}" if self.sd is None else f"{self.mean:.2f} ± {self.sd:.2f}"


TABLE_II = {0.3: (0.35, 0.6), 0.5: (0.3, 0.7), 0.7: (0.2, 0.9), 0.9: (0.05, 1.0), 0.35: (0.25, 0.55)}
"""β and r_max for each pruning ratio r. The values for 35 % are from Section V-A."""

BETWEEN = {0.8: (0.125, 0.95)}
"""β and r_max for 80 % (Table V), which the paper does not report: the means of those for 70 and 90 %."""

FULL = {
    "cifar10": Published(95.33, 0.04),
    "cifar100": Published(80.02, 0.02),
    "cifar10-dvs": Published(77.83, 0.26),
    "hardvs": Published(49.03),
}
"""Table III, full data."""

_ROWS = ("reduced-epoch", "forgetting", "el2n", "random", "infobatch", "sadp")
_CIFAR10 = """
94.91 0.08  94.29 0.11  92.93 0.05
95.11 0.17  94.47 0.09  92.30 0.19
95.16 0.04  94.63 0.10  92.07 0.18
94.97 0.06  94.25 0.03  92.96 0.15
94.99 0.16  94.30 0.11  93.02 0.14
95.22 0.06  94.82 0.05  93.65 0.03
"""
_CIFAR100 = """
79.24 0.08  78.19 0.11  76.19 0.11
78.15 0.17  75.07 0.31  67.88 0.30
78.10 0.12  73.51 0.12  61.48 0.13
79.30 0.06  78.24 0.05  76.04 0.08
79.57 0.12  78.12 0.16  76.24 0.17
80.01 0.07  78.63 0.09  77.10 0.12
"""
_CIFAR10_DVS = """
77.53 0.29  76.80 0.29  71.37 0.29
70.67 0.83  54.63 2.74  38.30 0.94
70.90 0.41  61.60 0.14  43.97 0.91
77.63 0.05  77.03 0.37  71.47 0.12
77.90 0.16  77.00 0.59  72.30 0.57
77.97 0.74  77.80 0.70  74.80 0.14
"""
_HARDVS = """
48.20  46.50  42.23
46.80  43.78  34.37
48.08  46.14  35.49
48.25  46.58  42.87
48.19  46.84  43.27
48.51  47.36  44.30
"""


def _grid(
    text: str, ratios: tuple[float, ...], with_sd: bool = True, rows: tuple[str, ...] = _ROWS
) -> dict[tuple[str, float], Published]:
    """Parse lines of numbers into values by (method, ratio)."""
    step = 2 if with_sd else 1
    grid = {}
    for method, line in zip(rows, text.strip().splitlines(), strict=True):
        numbers = [float(number) for number in line.split()]
        for column, ratio in enumerate(ratios):
            grid[method, ratio] = Published(*numbers[step * column : step * (column + 1)])
    return grid


TABLE_III = {
    "cifar10": _grid(_CIFAR10, (0.3, 0.5, 0.7)),
    "cifar100": _grid(_CIFAR100, (0.3, 0.5, 0.7)),
    "cifar10-dvs": _grid(_CIFAR10_DVS, (0.5, 0.7, 0.9)),
    "hardvs": _grid(_HARDVS, (0.3, 0.5, 0.7), with_sd=False),
}

TABLE_IV = {
    "sew-resnet34": {
        "full": (Published(68.40), Published(258)),
        "forgetting": (Published(65.76), Published(209)),
        "el2n": (Published(66.97), Published(200)),
        "sadp": (Published(68.29), Published(168)),
    },
    "meta-spikeformer-31m": {
        "full": (Published(77.41), Published(688)),
        "infobatch": (Published(76.46), Published(456)),
        "sadp": (Published(76.94), Published(448)),
    },
}
"""Accuracy and total hours of all GPUs, at a pruning ratio of 35 %."""

_HIGH = """
91.37 0.12  87.29 0.10
87.41 0.60  71.13 0.45
87.51 0.15  68.28 1.41
91.32 0.10  87.32 0.17
92.23 0.10  89.04 0.05
"""
TABLE_V = _grid(_HIGH, (0.8, 0.9), rows=("random", "forgetting", "el2n", "infobatch", "sadp"))

TABLE_VI = {
    ("cifar10", 0.9): {
        "SADP": Published(89.04, 0.05),
        "with the loss as score": Published(88.37, 0.16),
        "without the schedule": Published(88.17, 0.13),
        "without smoothing": Published(83.37, 0.27),
    },
    ("cifar100", 0.7): {
        "SADP": Published(77.10, 0.12),
        "with the loss as score": Published(76.68, 0.13),
        "without the schedule": Published(76.49, 0.12),
        "without smoothing": Published(72.16, 0.09),
    },
}

TABLE_VII_BETA = {
    0.0: Published(92.36, 0.17),
    0.1: Published(94.46, 0.06),
    0.2: Published(94.58, 0.03),
    0.3: Published(94.82, 0.05),
    0.4: Published(94.69, 0.10),
    0.5: Published(94.47, 0.06),
}
TABLE_VII_MAX_RATIO = {
    0.55: Published(94.62, 0.15),
    0.60: Published(94.63, 0.05),
    0.65: Published(94.72, 0.05),
    0.70: Published(94.82, 0.05),
    0.75: Published(94.81, 0.08),
    0.80: Published(94.75, 0.08),
}
"""Accuracy at a pruning ratio of 50 %: for each β with r_max = 70 %, and for each r_max with β = 0.3."""
