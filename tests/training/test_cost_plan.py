"""Proposals fit the time that was asked for, and change no more than that takes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.training import parse_config
from sadp_dist.training.cost_plan import MAX_CHEAP, MAX_RATIO, planned_sections, propose
from sadp_dist.training.phases import Phases
from sadp_dist.training.step_costs import StepCost, fewer_steps, smaller_sizes

FULL = StepCost(4, 32, 0.1)
COSTS = [FULL, StepCost(2, 32, 0.06), StepCost(1, 32, 0.04), StepCost(1, 24, 0.03), StepCost(1, 16, 0.02)]


@settings(max_examples=200, deadline=None)
@given(
    costs=st.lists(st.floats(0.001, 0.2), min_size=4, max_size=4),
    epochs=st.integers(1, 300),
    target=st.floats(0.02, 0.98),
)
def test_the_expected_time_is_that_of_the_epochs_and_below_the_target(costs, epochs, target):
    measured = [
        FULL,
        *(StepCost(one.time_steps, one.image_size, s) for one, s in zip(COSTS[1:], costs, strict=True)),
    ]
    try:
        found = propose(measured, epochs, 50, target)
    except UsageError as error:
        shortest = float(str(error).split("takes ")[1].split()[0])
        assert shortest > target - 0.001
        found = propose(measured, epochs, 50, shortest + 0.001)
        assert found.share == pytest.approx(shortest, abs=0.001)
        return
    seconds = sum(part.epochs * part.cost.seconds for part in found.parts) * 50 * (1 - found.ratio)
    assert found.share == pytest.approx(seconds / (epochs * 50 * 0.1)) and found.share <= target
    assert sum(part.epochs for part in found.parts) == epochs
    assert found.parts[-1].cost is FULL  # it ends with the full cost
    assert sum(part.epochs for part in found.parts[:-1]) <= MAX_CHEAP * epochs
    assert found.ratio <= MAX_RATIO


@pytest.mark.parametrize(
    ("target", "cheap", "size", "ratio"),
    [
        (0.9, 2, 32, 0),  # 10 epochs: 2 at 0.4 of the cost
        (0.55, 8, 32, 0),
        (0.4, 8, 32, 0.25),
        (0.25, 8, 24, 0.45),  # before more than half is pruned
        (0.1, 8, 16, 0.75),
    ],
)
def test_time_steps_go_first_then_half_of_the_examples_then_image_size(target, cheap, size, ratio):
    found = propose(COSTS, 10, 50, target)
    assert found.parts[0].epochs == cheap
    assert found.parts[0].cost.time_steps == 1 and found.parts[0].cost.image_size == size
    assert found.ratio == ratio


def test_only_what_is_possible_and_cheaper_is_proposed():
    refused = StepCost(1, 32, None, refusal="no")
    slower = StepCost(2, 32, 0.11)
    found = propose([FULL, slower, refused], 10, 50, 0.6)
    assert [part.cost for part in found.parts] == [FULL] and found.ratio == 0.4
    with pytest.raises(UsageError, match=r"--target-time 0.05: the shortest .* takes 0.100 .* at least 0.1"):
        propose([FULL, slower, refused], 10, 50, 0.05)


def test_what_is_written_has_these_phases_and_this_ratio(recipe, few_digits):
    raw = recipe(
        data=few_digits,
        network={"name": "small_cnn_pooled", "time_steps": 4},
        training={"epochs": 10, "curriculum": [{"until": 0.1, "time_steps": 2}, {}]},
        pruning={"method": "sadp", "ratio": 0.3, "max_ratio": 0.4},
    )
    costs = [StepCost(one.time_steps, one.image_size // 4, one.seconds) for one in COSTS]
    config = parse_config(planned_sections(raw, propose(costs, 10, 50, 0.25)))
    assert config.name == f"{raw['name']}-planned"
    assert [(p.begin, p.end, p.time_steps, p.image_size) for p in Phases.of(config).all] == [
        (0, 8, 1, 6),
        (8, 10, 4, 8),
    ]
    assert (config.pruning.method, config.pruning.ratio, config.pruning.max_ratio) == ("sadp", 0.45, None)
    unpruned = parse_config(planned_sections(raw, propose(costs, 10, 50, 0.9)))
    assert unpruned.pruning.method == "full"
    raw["pruning"] = {"method": "full"}
    assert parse_config(planned_sections(raw, propose(costs, 10, 50, 0.4))).pruning.method == "sadp-plus"


def test_fewer_steps_divide_the_steps_and_sizes_are_even():
    assert fewer_steps(6) == [3, 2, 1] and fewer_steps(5) == [1] and fewer_steps(1) == []
    assert smaller_sizes(224) == [168, 112] and smaller_sizes(14) == [10, 8]
