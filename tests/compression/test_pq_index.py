"""The PQ index and what follows from it: Eqs. 2-4 of Shen et al., and the six properties' simplest."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sadp_dist.snn.compression.pq_index import pq_index, retained_lower_bound, rewiring_ratio

weights = arrays(
    np.float64,
    st.integers(1, 20),
    elements=st.floats(-10, 10).filter(lambda w: abs(w) > 1e-3),
).map(torch.from_numpy)
orders = st.sampled_from([(0.5, 1.0), (1.0, 2.0), (0.5, 2.0), (0.25, 0.75)])


def index(w: torch.Tensor, p: float = 0.5, q: float = 1.0) -> float:
    return float(pq_index(w, torch.tensor(len(w)), p, q))


@given(weights, orders)
def test_it_is_the_formula_written_out(w: torch.Tensor, orders: tuple[float, float]) -> None:
    p, q = orders
    of_p = sum(abs(float(x)) ** p for x in w) ** (1 / p)
    of_q = sum(abs(float(x)) ** q for x in w) ** (1 / q)
    assert math.isclose(index(w, p, q), 1 - len(w) ** (1 / q - 1 / p) * of_p / of_q, abs_tol=1e-9)


@given(weights, orders, st.floats(1e-3, 1e3))
def test_neither_scale_nor_cloning_changes_it(
    w: torch.Tensor, orders: tuple[float, float], scale: float
) -> None:
    assert math.isclose(index(w * scale, *orders), index(w, *orders), abs_tol=1e-9)
    assert math.isclose(index(w.repeat(3), *orders), index(w, *orders), abs_tol=1e-9)


@given(weights, orders)
def test_it_lies_between_0_and_1_and_grows_with_a_zero(w: torch.Tensor, orders: tuple[float, float]) -> None:
    assert 0 <= index(w, *orders) < 1
    assert index(torch.cat([w, torch.zeros(1)]), *orders) > index(w, *orders)


@given(weights, st.floats(0.1, 100))
def test_a_rising_tide_lowers_it(w: torch.Tensor, more: float) -> None:
    assert index(w.abs() + more) <= index(w.abs()) + 1e-12


@given(st.integers(1, 50), st.floats(1e-3, 1e3), orders)
def test_equal_weights_have_none(count: int, value: float, orders: tuple[float, float]) -> None:
    assert math.isclose(index(torch.full((count,), value), *orders), 0, abs_tol=1e-9)


def test_what_is_not_connected_has_no_say() -> None:
    w = torch.tensor([1.0, 2.0, 5.0])
    masked = torch.tensor([1.0, 0.0, 2.0, 0.0, 5.0])
    assert math.isclose(float(pq_index(masked, torch.tensor(3), 0.5, 1.0)), index(w), abs_tol=1e-12)
    nothing = pq_index(torch.zeros(2, 4), torch.tensor([0, 4]), 0.5, 1.0)
    assert nothing.tolist() == [0, 0]


@given(weights, orders)
def test_what_is_kept_is_enough(w: torch.Tensor, orders: tuple[float, float]) -> None:
    """Diao et al., Theorem 1: with the largest r weights left, the rest is at most η of them (p-th powers).

    So the least r for which that holds is at least Eq. 3's, for the η that this r has.
    """
    p, q = orders
    powers = w.abs().pow(p).sort(descending=True).values
    d = torch.tensor(len(w))
    for r in range(1, len(w) + 1):
        η = float(powers[r:].sum() / powers[:r].sum())
        bound = float(retained_lower_bound(d, pq_index(w, d, p, q), η, p, q))
        assert r >= bound - 1e-6


def test_the_share_to_rewire_is_scaled_and_capped() -> None:
    d, r = torch.tensor([100, 100, 100, 0]), torch.tensor([84.6, 84.6, 1.0, 0.0])
    assert rewiring_ratio(d, r, 200, gamma=1.0, beta=0.9).tolist() == [15 / 200, 15 / 200, 90 / 200, 0]
    assert rewiring_ratio(d[:1], r[:1], 200, gamma=2.0, beta=0.9).tolist() == [30 / 200]


def test_normal_weights_lose_as_much_as_in_the_paper() -> None:
    """0.5, 0.42, 0.36, 0.30: the density of the paper's first four iterations."""
    w = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    d = torch.tensor(len(w))
    r = retained_lower_bound(d, pq_index(w, d, 0.5, 1.0), 0.001, 0.5, 1.0)
    kept = 1 - float(rewiring_ratio(d, r, len(w), 1.0, 0.9))
    assert abs(0.5 * kept**3 - 0.2972) < 0.01, "Table 1 has 29.72 % on CIFAR-10"
