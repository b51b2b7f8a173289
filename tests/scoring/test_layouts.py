"""The layout of what a layer saw is told from its shape; where it cannot be, that is said."""

from __future__ import annotations

import warnings

import pytest

from sadp_dist.errors import UsageError
from sadp_dist.scoring.layouts import Layout, find_layout, input_time_steps


@pytest.mark.parametrize(
    ("rows", "batch", "known", "layout"),
    [
        ((4, 8), 8, {}, Layout(4, 8, 1)),
        ((4, 8, 3), 8, {}, Layout(4, 8, 3)),
        ((4, 8, 3, 2), 8, {}, Layout(4, 8, 6)),
        ((8,), 8, {}, Layout(1, 8, 1)),
        ((32,), 8, {"outermost": "time"}, Layout(4, 8, 1)),
        ((32, 3), 8, {"outermost": "time"}, Layout(4, 8, 3)),
        ((32, 3), 8, {"outermost": "batch"}, Layout(4, 8, 3, "batch")),
        ((8, 4), 8, {"outermost": "batch"}, Layout(1, 8, 4, "batch")),
        ((8, 8), 8, {"outermost": "batch"}, Layout(1, 8, 8, "batch")),
        ((8, 8), 8, {"outermost": "time"}, Layout(8, 8, 1)),
        ((4, 8), 8, {"outermost": "batch"}, Layout(4, 8, 1)),
        ((8, 3), 8, {}, Layout(1, 8, 3)),
        ((4, 1), 1, {}, Layout(4, 1, 1)),
        ((8, 8), 8, {"step_mode": "m"}, Layout(8, 8, 1)),
        ((8, 8), 8, {"step_mode": "s"}, Layout(1, 8, 8)),
        ((4, 8), 8, {"step_mode": "s"}, Layout(4, 8, 1)),
        ((32,), 8, {"step_mode": "m", "outermost": "time"}, Layout(4, 8, 1)),
        ((64, 64), 64, {"time_steps": 4}, Layout(1, 64, 64)),
        ((256, 64), 64, {"time_steps": 4, "outermost": "time"}, Layout(4, 64, 64)),
        ((4, 2), 2, {"time_steps": 4}, Layout(4, 2, 1)),
        ((1, 8), 8, {"time_steps": 4, "step_mode": "m"}, Layout(1, 8, 1)),
        ((6, 8), 8, {"input_steps": 4}, Layout(6, 8, 1)),
        ((32,), 8, {"input_steps": 4, "flattened_time_first": True}, Layout(4, 8, 1)),
        ((32,), 1, {}, Layout(32, 1, 1)),
    ],
)
def test_the_layout_is_told_from_the_shape(
    rows: tuple[int, ...], batch: int, known: dict, layout: Layout
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_layout(rows, batch, layer="fc", **known) == layout


def test_a_shape_of_two_meanings_is_read_as_time_first_with_a_warning() -> None:
    said = r"layer 'fc' has \[8, 8\] rows .* \[T, B, ...\]; pass layout="
    with pytest.warns(UserWarning, match=said):
        assert find_layout((8, 8), 8, layer="fc") == Layout(8, 8, 1)


def test_flattened_rows_of_an_unknown_order_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"\[32\] rows for 8 examples, 4 for each, in an unknown order; pass"
    ):
        find_layout((32,), 8, layer="fc", time_steps=4)


@pytest.mark.parametrize(
    ("rows", "batch", "known"),
    [
        ((4, 8), 7, {}),
        ((32,), 7, {}),
        ((8,), 16, {}),
        ((), 1, {}),
        ((4, 8), 4, {"step_mode": "m"}),
        ((32,), 4, {"time_steps": 4}),
        ((5, 8), 8, {"time_steps": 4}),
        ((16,), 8, {"time_steps": 4}),
        ((16,), 8, {"input_steps": 4}),
    ],
)
def test_rows_of_another_batch_are_refused(rows: tuple[int, ...], batch: int, known: dict) -> None:
    with pytest.raises(UsageError) as error:
        find_layout(rows, batch, layer="fc", **known)
    said = str(error.value)
    assert said.startswith(f"coefficients has {batch} entries, but layer 'fc' has {list(rows)} rows, which")
    assert said.endswith(f" is not a batch of {batch}; give one coefficient per example of the batch")
    assert ("with time_steps=4" in said) == ("time_steps" in known)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("shapes", "batch", "time_steps", "steps"),
    [
        ([(8, 3, 5, 5)], 8, None, None),
        ([(8, 3, 5, 5)], 8, 4, None),
        ([(4, 8, 3, 5, 5)], 8, None, 4),
        ([(4, 8, 3, 5, 5)], 8, 4, 4),
        ([(1, 8, 3)], 8, None, None),
        ([(1, 8, 3)], 8, 4, None),
        ([(32, 3)], 8, 4, None),
        ([(8,)], 8, None, None),
        ([(50,), (4, 8, 3)], 8, None, 4),
    ],
)
def test_the_networks_input_tells_the_time_steps(
    shapes: list[tuple[int, ...]], batch: int, time_steps: int | None, steps: int | None
) -> None:
    assert input_time_steps(shapes, batch, time_steps) == steps


@pytest.mark.parametrize(
    ("shapes", "batch", "time_steps"),
    [
        ([(8, 3)], 4, None),
        ([(32, 3)], 8, None),
        ([(32, 3)], 8, 2),
        ([(5, 8, 3)], 8, 4),
        ([(8,)], 4, None),
        ([(8, 3), (8,)], 2, None),
    ],
)
def test_an_input_of_another_batch_is_refused(
    shapes: list[tuple[int, ...]], batch: int, time_steps: int | None
) -> None:
    with pytest.raises(
        UsageError, match=rf"coefficients has {batch} entries, but the network's input"
    ) as error:
        input_time_steps(shapes, batch, time_steps)
    assert "\n" not in str(error.value)
