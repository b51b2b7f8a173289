"""A ratio that has become clearly worse than the one recorded fails the check; noise does not."""

from __future__ import annotations

import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.recorded import TRIES, compare, record
from benchmarks.result import Ratio, Result

MACHINE = {"cores": 2}
finite = st.floats(1e-6, 1e6)


def result(**values: float) -> Result:
    """Times of a peer over ours, which a short run measures to a factor of 1.5; and one that it does not."""
    ratios = [Ratio(name, value, "higher", slack=1.5) for name, value in values.items()]
    return Result(ratios=[*ratios, Ratio("rough", 1.0, "higher")], machine=MACHINE)


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "recorded.json"
    record({"plan": [result(sorted=10.0, masked=30.0)]}, path)
    return path


def check(path, first, *later):
    """Exit status and lines of a check whose runs give these results."""
    console, runs = Console(file=io.StringIO(), width=40), iter(later)
    status = compare({"plan": first}, lambda name: next(runs), console, path)
    assert next(runs, None) is None, "it ran less often"
    return status, console.file.getvalue().splitlines()


def test_as_fast_as_recorded_and_within_the_slack_pass(recorded):
    assert check(recorded, result(sorted=6.7, masked=300.0)) == (
        0,
        ["benchmarks: 2 ratios, none clearly worse than recorded"],
    )


def test_a_loss_in_every_try_fails_with_one_line(recorded):
    lost = result(sorted=6.6, masked=30.0)
    status, lines = check(recorded, lost, *[lost] * (TRIES - 1))
    assert status == 1
    assert lines == [
        "benchmarks: plan: sorted is 6.6, recorded 10: worse by more than 1.5 times",
        "benchmarks: if that is meant to be: python -m benchmarks --short --record",
    ]


def test_a_loss_that_goes_away_when_it_is_measured_again_passes(recorded):
    one, other, fine = (result(sorted=a, masked=b) for a, b in [(1.0, 30.0), (10.0, 1.0), (10.0, 30.0)])
    assert check(recorded, one, fine)[0] == 0
    assert check(recorded, one, one, fine)[0] == 0
    assert check(recorded, one, other)[0] == 0, "each ratio was fine once"


def test_a_ratio_that_is_not_recorded_is_told_and_not_measured_again(recorded, tmp_path):
    status, lines = check(recorded, result(sorted=10.0, masked=30.0, copied=2.0))
    assert (status, lines[0]) == (1, "benchmarks: plan: copied is not recorded")
    assert check(tmp_path / "nothing.json", result(sorted=10.0))[0] == 1


def test_a_ratio_that_is_no_number_is_a_loss(recorded):
    lost = result(sorted=math.nan, masked=30.0)
    assert check(recorded, lost, lost, lost)[0] == 1


def test_a_name_with_brackets_is_printed_as_it_is(tmp_path):
    _, lines = check(tmp_path / "nothing.json", result(**{"push [red]256[/red]": 1.0}))
    assert lines[0] == "benchmarks: plan: push [red]256[/red] is not recorded"


def test_recorded_are_the_medians_of_those_that_are_compared_and_others_stay(recorded):
    runs = [result(push=value) for value in (3.0, 1 / 3, 2.0)]
    record({"store": runs}, recorded)
    assert json.loads(recorded.read_text()) == {
        "plan": {"sorted": 10.0, "masked": 30.0},
        "store": {"push": 2.0},
    }
    record({"store": [result(push=1.23456e-5)]}, recorded)
    assert json.loads(recorded.read_text())["store"] == {"push": 1.235e-5}


@given(recorded=finite, factor=finite, better=st.sampled_from(["higher", "lower"]))
def test_a_loss_is_the_factor_by_which_a_ratio_is_worse(recorded, factor, better):
    value = recorded / factor if better == "higher" else recorded * factor
    assert Ratio("r", value, better).loss(recorded) == pytest.approx(factor)
    assert Ratio("r", recorded, better).loss(recorded) == 1


@given(value=finite, goal=finite)
def test_a_goal_is_met_on_its_own_side_and_on_it(value, goal):
    assert Ratio("r", value, "higher", goal).met == (value >= goal)
    assert Ratio("r", value, "lower", goal).met == (value <= goal)
    assert Ratio("r", goal, "higher", goal).met and Ratio("r", goal, "lower", goal).met
    assert Ratio("r", value, "higher").met is None
