"""Groups of like scores: the best k-means there is, found by trying every way to cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sadp_dist.selection.rules.seta import bin_of, group_ends, histogram


def rounded(score: float) -> float:
    """The middle of all numbers that begin with the same 8 binary digits; 0 stays 0."""
    mantissa, exponent = math.frexp(score)
    return math.ldexp((math.floor(mantissa * 256) + 0.5) / 256, exponent) if score else 0.0


def spread(groups: Sequence[NDArray[np.float64]]) -> float:
    return sum(float(((group - group.mean()) ** 2).sum()) for group in groups)


def best_spread(values: NDArray[np.float64], groups: int) -> float:
    distinct = np.unique(values)
    cuts = combinations(distinct[1:], min(groups, len(distinct)) - 1)
    return min(
        spread([values[(values >= a) & (values < b)] for a, b in pairwise([-1.0, *cut, np.inf])])
        for cut in cuts
    )


scores = st.lists(
    st.sampled_from([0.0, 1e-6, 0.01, 0.0101, 0.1, 0.11, 0.5, 1.0, 1.25, 3.0, 40.0]), min_size=1
)


@settings(max_examples=200)
@given(scores, st.integers(1, 5))
def test_no_other_cut_has_less_spread(scores: list[float], groups: int) -> None:
    found = np.array(scores, np.float32)
    ends = group_ends(histogram(found), groups)
    values = np.array([rounded(float(score)) for score in found])
    group = np.searchsorted(ends, bin_of(found), side="right")
    assert len(ends) == min(groups, len(np.unique(values)))
    assert sorted(set(group.tolist())) == list(range(len(ends)))  # none is empty
    ours = spread([values[group == g] for g in range(len(ends))])
    assert ours == pytest.approx(best_spread(values, groups), rel=1e-9, abs=1e-9)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 2.0**100, width=32), min_size=2))
def test_bins_keep_the_order_and_count_all(scores: list[float]) -> None:
    found = np.array(scores, np.float32)
    counts = histogram(found)
    assert counts.sum() == len(found)
    assert (np.diff(bin_of(np.sort(found)).astype(np.int64)) >= 0).all()
    np.testing.assert_array_equal(counts, histogram(found.astype(np.float64)))


def test_without_scores_there_are_no_groups() -> None:
    assert len(group_ends(histogram(np.empty(0, np.float32)), 5)) == 0
