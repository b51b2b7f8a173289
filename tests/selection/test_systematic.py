"""The systematic draw, against its definition and by how often each example is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from sadp_dist.selection import draw, selection_probabilities
from sadp_dist.selection.passes import BLOCK
from sadp_dist.selection.random import Stream, bits, shuffled, stream_key

LABELS = np.random.default_rng(8).integers(0, 12, 3 * BLOCK)


def _walked(p: np.ndarray, strata: np.ndarray, seed: int, epoch: int, start: int) -> np.ndarray:
    """The systematic draw as it is defined, along one order of all examples, in Python's integers."""
    order: list[np.ndarray] = []
    for block in range(-(-len(p) // BLOCK)):
        length = min(BLOCK, len(p) - block * BLOCK)
        key = np.uint64(bits(stream_key(seed, epoch, Stream.SPREAD), block))
        everyone = np.packbits(np.ones(length, np.bool_), bitorder="little")
        order.append(block * BLOCK + shuffled(everyone, length, key))
    along = np.concatenate(order)
    along = along[np.argsort(strata[along], kind="stable")]
    position, drawn = start, []
    for i in along.tolist():
        position += int(p[i] * 2.0**62)
        if position >> 62:
            drawn.append(i)
        position %= 2**62
    return np.sort(drawn)


@pytest.mark.parametrize("stratified", [False, True])
def test_the_walk_goes_stratum_by_stratum_and_block_by_block(stratified: bool) -> None:
    n = 2 * BLOCK + 500
    p = selection_probabilities(np.random.default_rng(3).lognormal(size=n), 12_345.5, 0.1)
    strata = LABELS[:n] if stratified else np.zeros(n, int)
    start = int(stream_key(5, 2, Stream.START)) % 2**62
    expected = _walked(p, strata, 5, 2, start)
    np.testing.assert_array_equal(draw(p, 5, 2, "systematic", strata if stratified else None), expected)
    assert len(expected) in (12_345, 12_346)


def test_over_blocks_each_example_is_drawn_as_often_as_its_probability_says() -> None:
    n, epochs = 2 * BLOCK + 500, 1500
    p = selection_probabilities(np.random.default_rng(3).lognormal(size=n), 12_000, 0.1)
    times = np.zeros(n)
    for epoch in range(epochs):
        drawn = draw(p, 1, epoch, "systematic")
        assert len(drawn) == 12_000
        times[drawn] += 1
    assert np.all(times[p == 1] == epochs)
    uncertain = p < 1
    z = ((times - epochs * p) / np.sqrt(epochs * p * (1 - p) + (p == 1)))[uncertain]
    assert np.abs(z).max() < 5.5  # of 30,000
    assert np.mean(z**2) == pytest.approx(1, abs=0.05)
    assert np.mean(z) == pytest.approx(0, abs=0.03)
