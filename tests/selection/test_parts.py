"""A plan over the parts of a data set: the same bits for one part or many, in rounds of small answers."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.selection import RULES, EpochPlan, PruningConfig, draw, plan_epoch, selection_probabilities
from sadp_dist.selection.order import shuffled
from sadp_dist.selection.part import Part
from sadp_dist.selection.parts import BLOCK, LocalParts, split
from sadp_dist.selection.plan import PlanFigures, plan_parts, weight_figures
from sadp_dist.selection.random import Stream, bits, stream_key
from sadp_dist.selection.sampling import draw_parts
from sadp_dist.selection.sharding import join, shard

N = 6 * BLOCK + 777
RNG = np.random.default_rng(8)
LABELS = RNG.integers(0, 12, N)
SCORES = np.where(RNG.random(N) < 0.15, 0, RNG.lognormal(size=N)).astype(np.float32)
SCORES[RNG.random(N) < 0.1] = np.nan


class DistantParts(LocalParts):
    """Everything is carried to and fro as bytes, as between processes; the most that came back is noted."""

    largest_answer = 0

    def each_its(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        answers = super().each_its(method, pickle.loads(pickle.dumps(arguments)))
        sent = [pickle.dumps(answer) for answer in answers]
        self.largest_answer = max(self.largest_answer, *map(len, sent))
        return [pickle.loads(answer) for answer in sent]

    def each(self, method: str, *arguments: Any) -> list[Any]:
        return self.each_its(method, [arguments] * len(self.ranges))


def in_parts(scores: np.ndarray, ranges: Sequence[range], labels: np.ndarray = LABELS) -> DistantParts:
    return DistantParts(
        [Part(scores[r.start : r.stop], r.start, len(scores), labels[r.start : r.stop]) for r in ranges]
    )


def assert_same_plan(parts: LocalParts, figures: PlanFigures, expected: EpochPlan) -> None:
    assert figures == expected.figures()
    epoch = figures.epoch
    for world_size in (1, 2, 3, 8):
        for rank in range(world_size):
            indices, weights = join(parts.each("shard", epoch, rank, world_size, figures.drawn))
            expected_indices, expected_weights = shard(expected.indices, expected.weights, rank, world_size)
            np.testing.assert_array_equal(indices, expected_indices)
            np.testing.assert_array_equal(weights, expected_weights)


draws = st.sampled_from(
    [("bernoulli", "none"), ("systematic", "none"), ("systematic", "class"), ("systematic", "class-score")]
)
bounds = st.lists(st.integers(1, N // BLOCK), max_size=5, unique=True).map(sorted)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["sadp", "sadp", *RULES]),
    draws,
    st.sampled_from(["floor", "paper"]),
    st.sampled_from(["mean", "max"]),
    st.sampled_from([0.0, 0.2, 0.9]),
    st.floats(0, 0.999),
    st.sampled_from(["some unseen", "all seen", "all unseen", "zeros"]),
    bounds,
)
def test_any_number_of_parts_plans_as_one_does_bit_for_bit(
    method: str,
    how: tuple[str, str],
    zero_scores: str,
    unseen: str,
    floor: float,
    ratio: float,
    seen: str,
    blocks: list[int],
) -> None:
    scores = {
        "some unseen": SCORES,
        "all seen": np.nan_to_num(SCORES),
        "all unseen": np.full(N, np.nan, np.float32),
        "zeros": np.zeros(N, np.float32),
    }[seen]
    scheme, stratify = how
    config = PruningConfig(
        ratio=ratio,
        epochs=3,
        min_probability=floor,
        method=method,
        scheme=scheme,
        stratify=stratify,
        zero_scores=zero_scores,
        unseen=unseen,
        seed=9,
        tracking_epochs=1,
    )
    epoch = min(1, config.run_epochs - 1)  # "reduced-epoch" may have one alone
    ends = [0, *(block * BLOCK for block in blocks), N]
    parts = in_parts(scores, [range(begin, end) for begin, end in pairwise(ends)])
    figures = plan_parts(parts, epoch, config)
    expected = plan_epoch(scores, epoch, config, LABELS)
    assert_same_plan(parts, figures, expected)
    whole = in_parts(scores, [range(N)])
    plan_parts(whole, epoch, config)
    largest, effective = weight_figures(parts, epoch)
    assert (largest, effective) == weight_figures(whole, epoch)
    w = expected.weights
    assert largest == w.max(initial=0)
    assert effective == pytest.approx(w.sum() ** 2 / (w**2).sum() if len(w) else 0, rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("seen", [SCORES, np.nan_to_num(SCORES)], ids=["some unseen", "all seen"])
def test_what_leaves_a_part_is_a_bit_an_example_and_little_more(count: int, seen: np.ndarray) -> None:
    parts = in_parts(seen, split(N, count))
    plan_parts(parts, 0, PruningConfig(ratio=0.4, min_probability=0.2, stratify="class-score"))
    examples = max(map(len, parts.ranges))
    assert examples / 8 <= parts.largest_answer < examples / 8 + 16 * 12 * 32 + 2_000


def test_a_plan_that_failed_on_its_way_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    config = PruningConfig(ratio=0.4, epochs=2)
    scores = SCORES.copy()
    parts = in_parts(scores, split(N, 3))
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(type(RULES["sadp"]), "probability", lambda *_: 1 // 0)
        plan_parts(parts, 0, config)
    scores[:] = np.nan_to_num(scores)
    assert_same_plan(parts, plan_parts(parts, 0, config), plan_epoch(scores, 0, config))


@settings(max_examples=200)
@given(st.integers(0, 40 * BLOCK), st.integers(1, 9))
def test_a_data_set_is_split_into_whole_blocks(dataset_size: int, count: int) -> None:
    ranges = split(dataset_size, count)
    assert [i for r in ranges for i in (r.start, r.stop)][1:-1:2] == [r.start for r in ranges[1:]]
    assert (ranges[0].start, ranges[-1].stop) == (0, dataset_size)
    assert all(r.start % BLOCK == 0 for r in ranges)
    blocks = [-(-len(r) // BLOCK) for r in ranges]
    assert max(blocks) - min(blocks) <= 1
    assert len(ranges) == count or blocks == [1] * len(ranges) or dataset_size == 0


def _walked(p: np.ndarray, strata: np.ndarray, seed: int, epoch: int, start: int) -> np.ndarray:
    """The systematic draw as it is defined, along one order of all examples, in Python's integers."""
    order: list[np.ndarray] = []
    for block in range(-(-len(p) // BLOCK)):
        length = min(BLOCK, len(p) - block * BLOCK)
        key = np.uint64(bits(stream_key(seed, epoch, Stream.SPREAD), block))
        everyone = np.packbits(np.ones(length, np.bool_), bitorder="little")
        order.append(block * BLOCK + shuffled(everyone, length, key, range(length))[0])
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


def test_over_blocks_and_parts_each_example_is_drawn_as_often_as_its_probability_says() -> None:
    n, epochs = 2 * BLOCK + 500, 1500
    p = selection_probabilities(np.random.default_rng(3).lognormal(size=n), 12_000, 0.1)
    parts = in_parts(p, split(n, 3))
    times = np.zeros(n)
    for epoch in range(epochs):
        packed = draw_parts(parts, np.asarray, 1, epoch, "systematic", "none")
        drawn = np.unpackbits(packed, count=n, bitorder="little")
        assert drawn.sum() == 12_000
        times += drawn
    assert np.all(times[p == 1] == epochs)
    uncertain = p < 1
    z = ((times - epochs * p) / np.sqrt(epochs * p * (1 - p) + (p == 1)))[uncertain]
    assert np.abs(z).max() < 5.5  # of 30,000
    assert np.mean(z**2) == pytest.approx(1, abs=0.05)
    assert np.mean(z) == pytest.approx(0, abs=0.03)
