"""What an example's averaged score says about its next one, learned from the last epoch.

An average a is a few noisy measurements of a gradient that changes. The probabilities of least variance are
proportional to the root of E(a), the expected square of an example's next relative score x given its average.
For exact scores E(a) = a², and the probabilities are SADP's. Noise and change make E flatter: large averages
are partly luck, and an example whose average is small can have a large gradient again.

The last epoch measured pairs of a, as it was when the example was drawn, and x. The curve through them is

    E(a) = c0 + c1 a + c2 a²,    c >= 0,

a constant for what the average does not know, a² for what it knows exactly, and a for examples whose gradient
is either large or nothing, so that the average says how often it is large. E never falls with a. Below the
averages of the pairs, where a subset has few examples, the curve continues.

Probabilities p ∝ √E would have given the last epoch's gradients the variance Σ x²/p, that is

    J(c) = (Σ w x² / √E) (Σ w √E),

up to a constant. w = S / (N p) is a pair's weight, with which the drawn examples stand for all. The curve is
the one with the smallest J: where the gradient of log J has a positive and a negative part, each c is
multiplied by their ratio until it stays, as in non-negative matrix factorisation.

The age of an average is no part of the curve. Curves by age needed many times as many pairs and were not
better in simulations with drifting gradients: the average forgets old scores already.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sadp_dist.selection.passes import in_threads, stretches
from sadp_dist.selection.plan import EpochPlan
from sadp_dist.selection.relative_scores import AVERAGE, TRUST, Times
from sadp_dist.selection.table import ScoreTable

EXPECTED = "expected"
"""Name of the array in `ScoreTable.state`, float32 (N,): √E of each example; its average without a curve."""
FEWEST = 300
"""Pairs without which there is no curve."""
MOST = 131_072
"""Pairs that are looked at, at most: more would change the curve little, and cost the more time."""
_ROUNDS = 100
_PER_OCTAVE, _LOWEST, _CELLS = 4, -12, 72
"""Pairs are added up in cells of similar averages, from 2^-12 to 2^6, four for each doubling."""


def sums_of_pairs(table: ScoreTable, last: EpochPlan, times: Times) -> NDArray[np.float64]:
    """Return Σ 1, Σ w, Σ w a, Σ w a² and Σ w x² of the last epoch's pairs, by cells of a; (cells, 5).

    Args:
        table: of the run, with the scores of the epoch, and the averages as they were when it was planned.
        last: the plan of the epoch.
        times: of the epoch.
    """
    sums, state = np.zeros((_CELLS, 5)), table.state
    some = slice(None, None, -(-last.drawn // MOST) or 1)
    pairs = last.indices[some], last.importance[some]
    _add_pairs(table.scores, state[AVERAGE], state[TRUST], *pairs, times.step, times.means, sums)
    return sums


def curve(sums: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return c of the curve with the smallest J, (3,); None for few pairs or scores of 0 only.

    Args:
        sums: of `sums_of_pairs`.
    """
    total = sums.sum(axis=0)
    if total[0] < FEWEST or not total[1:].all():
        return None
    some = sums[sums[:, 1] > 0]
    w = some[:, 1] / total[1]
    X, x2 = some[:, 1:4] / some[:, 1:2], some[:, 4] / some[:, 1]  # the means of 1, a, a² and of x²
    mean = total[4] / total[1]
    c = mean * total[1] / (3 * total[1:4])
    for _ in range(_ROUNDS):
        E = np.maximum((X * c).sum(axis=1), 1e-12 * mean)
        under, root = w * x2 / np.sqrt(E), w * np.sqrt(E)
        rises = (X * (under / E)[:, None]).sum(axis=0) / under.sum()
        falls = (X * (root / E)[:, None]).sum(axis=0) / root.sum()
        c *= rises / falls
    c *= total[4] / (total[1:4] @ c)  # J does not depend on the scale
    return np.asarray(c)


def expect(table: ScoreTable, c: NDArray[np.float64] | None) -> None:
    """Write √E of each example's average to the table's `EXPECTED`; the averages where c is None."""
    average, expected = table.state[AVERAGE], table.state[EXPECTED]
    if c is None:
        expected[:] = average
        return
    in_threads(lambda some: _write_roots(average[some], c, expected[some]), stretches(len(average)))


@njit(cache=True, nogil=True)
def _add_pairs(
    scores: NDArray[np.floating],
    average: NDArray[np.float32],
    trust: NDArray[np.float32],
    indices: NDArray[np.integer],
    weights: NDArray[np.floating],
    step: NDArray[np.uint8],
    means: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    for j in range(len(indices)):
        i = indices[j]
        if step[i] > 0 and trust[i] > 0:
            a, w = np.float64(average[i]), weights[j]
            x = scores[i] / means[step[i]]
            octaves = np.log2(a) - _LOWEST if a > 0 else 0.0
            cell = min(max(int(octaves * _PER_OCTAVE), 0), _CELLS - 1)
            sums[cell, 0] += 1
            sums[cell, 1] += w
            sums[cell, 2] += w * a
            sums[cell, 3] += w * a * a
            sums[cell, 4] += w * x * x


@njit(cache=True, nogil=True)
def _write_roots(average: NDArray[np.float32], c: NDArray[np.float64], expected: NDArray[np.float32]) -> None:
    for i in range(len(average)):
        a = np.float64(average[i])
        expected[i] = np.sqrt((c[2] * a + c[1]) * a + c[0])
