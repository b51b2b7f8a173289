"""Published values of pruning combined with other training methods.

Sources: Section V-D of SADP (arXiv:2510.04098), the supplement of SLTT (Meng et al., ICCV 2023), and
two-stage sparse structure learning (Shen et al., ICLR 2025).
"""

from __future__ import annotations

from sadp_dist.reproduce.published import Published

Grid = dict[tuple[str, float], Published]
"""Accuracies in percent by method and ratio; full data has the key ("full", 0)."""

_ROWS = ("random", "infobatch", "sadp")


def _grid(full: tuple[float, float], ratios: tuple[float, ...], text: str) -> Grid:
    """Parse the value of full data, and lines of values with standard deviations."""
    grid = {("full", 0.0): Published(*full)}
    for method, line in zip(_ROWS, text.strip().splitlines(), strict=True):
        numbers = [float(number) for number in line.split()]
        for ratio, mean, sd in zip(ratios, numbers[::2], numbers[1::2], strict=True):
            grid[method, ratio] = Published(mean, sd)
    return grid


TABLE_VIII = {
    "psn": {"full": (Published(67.13), Published(104)), "sadp": (Published(66.94), Published(68))},
    "t-revsnn": {"full": (Published(71.54), Published(232)), "sadp": (Published(70.83), Published(152))},
}
"""Accuracy and hours, at a pruning ratio of 35 %."""

_EPROP = """
88.50 0.14  87.68 0.12  83.69 0.14
88.74 0.15  88.12 0.09  84.60 0.20
89.31 0.07  88.75 0.05  85.46 0.12
"""
_SLTT = """
77.49 0.34  77.27 0.24  71.83 0.73
77.50 0.45  77.00 0.64  73.00 0.29
78.10 0.70  77.97 0.45  74.97 0.17
"""
TABLE_IX = {
    "eprop": _grid((89.33, 0.08), (0.5, 0.7, 0.9), _EPROP),
    "sltt": _grid((78.10, 0.36), (0.5, 0.7, 0.9), _SLTT),
}
"""The network of SLTT is VGG11, as in the paper's table. The paper's text says ResNet18."""

_DECOLLE = """
60.69 0.54  59.07 0.37  56.45 0.33
61.39 0.41  59.88 0.40  57.57 0.29
61.84 0.22  61.22 0.45  58.54 0.33
"""
_ELL = """
86.89 0.08  85.87 0.11  84.12 0.11
87.26 0.04  86.45 0.13  84.51 0.17
87.60 0.07  87.11 0.09  85.53 0.10
"""
TABLE_X = {
    "decolle": _grid((61.96, 0.44), (0.3, 0.5, 0.7), _DECOLLE),
    "ell": _grid((87.62, 0.07), (0.3, 0.5, 0.7), _ELL),
}

_QAT = """
90.92 0.10  89.66 0.13  87.64 0.07
91.16 0.04  90.00 0.13  87.93 0.10
91.65 0.04  90.68 0.11  89.05 0.09
"""
_ACTIVITY = """
89.38 0.11  88.52 0.03  86.61 0.22
89.72 0.03  88.98 0.10  87.26 0.07
90.44 0.05  89.82 0.02  88.45 0.12
"""
TABLE_XI = {
    "qat": _grid((92.04, 0.07), (0.3, 0.5, 0.7), _QAT),
    "activity-pruning": _grid((90.45, 0.09), (0.3, 0.5, 0.7), _ACTIVITY),
}

SPARSE_TABLE_1 = {
    "layer": (Published(92.38), Published(29.72), Published(3.70), Published(133.26)),
    "neuron": (Published(92.48), Published(40.58), Published(5.12), Published(158.35)),
}
"""ResNet19 on CIFAR-10 with T = 2: accuracy and connectivity in percent, millions of parameters, millions of
synaptic operations. Values of the iteration with the highest accuracy; neuron-wise, another has 26.63 %."""

SLTT_TABLE_S2 = {
    ("bptt", 2): (Published(1.47), Published(1.81), Published(93.90)),
    ("sltt", 2): (Published(1.10), Published(1.80), Published(93.96)),
    ("bptt", 4): (Published(2.19), Published(3.41), Published(94.29)),
    ("sltt", 4): (Published(1.09), Published(3.29), Published(94.17)),
    ("bptt", 6): (Published(3.00), Published(6.35), Published(94.60)),
    ("sltt", 6): (Published(1.09), Published(4.58), Published(94.59)),
}
"""Memory in GB, time in hours and accuracy in percent on CIFAR-10, by rule and T. The published "3.41s" at
T = 4 must be hours too."""
