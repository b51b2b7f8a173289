"""The schedule of Eq. 42 and what it refuses."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig, PruningSchedule


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 300))
def test_ratios_are_those_of_equation_42(r: float, above: float, K: int) -> None:
    r_max = r + above * (min(1.0, 2 * r) - r)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ratio = PruningSchedule(r, r_max, K).ratio
    ratios = [ratio(k) for k in range(1, K + 1)]
    expected = [2 * r - r_max + k * (2 * r_max - 2 * r) / K for k in range(1, K + 1)]
    assert ratios == pytest.approx(expected, abs=1e-12)
    assert ratios == sorted(ratios)
    assert min(ratios) >= 0
    assert ratios[-1] == r_max


def test_without_a_maximum_the_ratio_is_constant() -> None:
    schedule = PruningSchedule(0.35, epochs=3)
    assert [schedule.ratio(k) for k in (1, 2, 3)] == [0.35] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.5, 0.4, 10), r"max_ratio=0.4 is outside \[0.5, 1\]"),
        ((0.3, 0.7, 10), r"max_ratio=0.7 is outside \[0.3, 0.6\]"),
        ((0.5, 1.01, 10), r"max_ratio=1.01 is outside \[0.5, 1\]"),
        ((1.1, None, 10), r"ratio=1.1 is not a number in \[0, 1\]"),
        ((-0.1, None, 10), r"ratio=-0.1 is not a number in \[0, 1\]"),
        ((float("nan"), None, 10), r"ratio=nan is not a number in \[0, 1\]"),
        (("0.5", None, 10), r"ratio='0.5' is not a number in \[0, 1\]"),
        ((0.5, "0.7", 10), r"max_ratio='0.7' is outside \[0.5, 1\]"),
        ((0.5, None, 0), r"epochs=0 is not"),
        ((0.5, None, 2.5), r"epochs=2.5 is not"),
    ],
)
def test_a_schedule_out_of_range_is_refused_with_the_range(arguments: tuple, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PruningSchedule(*arguments)
    ratio, max_ratio, epochs = arguments
    if isinstance(ratio, str) or isinstance(max_ratio, str):
        return  # a configuration reads numbers in quotes
    with pytest.raises(UsageError, match=message):
        PruningConfig(ratio=ratio, max_ratio=max_ratio, epochs=epochs)


@pytest.mark.parametrize("k", [0, 4])
def test_only_epochs_of_the_schedule_have_a_ratio(k: int) -> None:
    with pytest.raises(UsageError, match=rf"k={k} is not one of the schedule's epochs, 1\.\.3"):
        PruningSchedule(0.5, 0.6, 3).ratio(k)


def test_an_epoch_that_keeps_nothing_is_warned_of_once() -> None:
    with pytest.warns(UserWarning, match="the last of 5 epochs trains on nothing") as caught:
        config = PruningConfig(ratio=0.5, max_ratio=1.0, schedule="paper", epochs=5)
        assert config.rule.ratio(4) == 1
    assert len(caught) == 1
