"""Random orders: each is one of the permutations, all of them as often, and nobody else moves an example."""

from __future__ import annotations

from collections import Counter
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.selection import random
from sadp_dist.selection.random import empty_row, index_type, shuffled, stream_key


def order_of(n: int, seed: int, chosen: np.ndarray | None = None) -> np.ndarray:
    bits = np.packbits(np.ones(n, np.bool_) if chosen is None else chosen, bitorder="little")
    return shuffled(bits, n, stream_key(seed, 0, 3))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 100, 16_384, 16_385, 20_000, 1_000_000])
def test_every_example_comes_once(n: int) -> None:
    places = order_of(n, seed=5)
    assert places.dtype == np.int32
    np.testing.assert_array_equal(np.sort(places), np.arange(n))


def test_a_key_is_an_order() -> None:
    np.testing.assert_array_equal(order_of(1000, 1), order_of(1000, 1))
    assert np.mean(order_of(1000, 1) == order_of(1000, 2)) < 0.01


@pytest.mark.parametrize("n", [2, 3, 4])
def test_all_orders_of_a_few_come_equally_often(n: int) -> None:
    draws, orders = 12_000, factorial(n)
    counts = Counter(tuple(order_of(n, seed)) for seed in range(draws))
    expected = draws / orders
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == orders
    freedom = orders - 1
    assert chi_squared < freedom + 3 * np.sqrt(2 * freedom)


def test_places_have_no_pattern() -> None:
    n = 40_000
    place = np.argsort(order_of(n, 0))
    for lag in (1, 2, 128, 200, 201):  # 200: the width of the permutation's rows
        assert abs(np.corrcoef(place[:-lag], place[lag:])[0, 1]) < 4 / np.sqrt(n)
    assert abs(np.corrcoef(place, np.arange(n))[0, 1]) < 4 / np.sqrt(n)
    neighbours = np.abs(np.diff(order_of(n, 0)))
    assert np.mean(neighbours) == pytest.approx(n / 3, rel=0.02)


@settings(max_examples=100)
@given(st.integers(1, 500), st.integers(0, 2**64 - 1), st.data())
def test_the_order_of_a_subset_is_that_of_the_whole(n: int, seed: int, data: st.DataObject) -> None:
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    whole = order_of(n, seed)
    np.testing.assert_array_equal(order_of(n, seed, chosen), whole[chosen[whole]])


def test_more_examples_than_32_bits_can_count_get_wider_rows() -> None:
    assert empty_row(65_535**2).dtype == np.uint32
    assert empty_row(65_535**2 + 1).dtype == np.uint64
    assert len(empty_row(2**40)) ** 2 >= 2**40


def test_indices_have_32_bits_where_these_are_enough() -> None:
    assert index_type(2**31) is np.int32
    assert index_type(2**31 + 1) is np.int64


@pytest.mark.parametrize("n", [1000, 600_000])
def test_wide_numbers_make_the_same_order(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = np.random.default_rng(n).random(n) < 0.6
    bits, key = np.packbits(chosen, bitorder="little"), stream_key(4, 0, 3)
    expected = shuffled(bits, n, key)
    monkeypatch.setattr(random, "index_type", lambda _: np.int64)
    monkeypatch.setattr(random, "empty_row", lambda n: empty_row(n).astype(np.uint64))
    wide = shuffled(bits, n, key)
    assert wide.dtype == np.int64
    np.testing.assert_array_equal(wide, expected)
