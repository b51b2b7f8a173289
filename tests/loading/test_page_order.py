"""An order for data larger than memory: each page is needed in one stretch, and a window of them is mixed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sadp_dist
from sadp_dist.errors import UsageError
from sadp_dist.loading import PageOrder, PruningSampler


@settings(max_examples=200)
@given(
    st.lists(st.integers(0, 30), max_size=300),
    st.integers(1, 80),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
)
def test_it_is_an_order_that_needs_about_a_window_of_pages_at_a_time(pages, window, epoch, random) -> None:
    drawn = sorted(
        random.sample(range(len(pages)), random.randint(0, len(pages))), key=lambda _: random.random()
    )
    indices = np.array(drawn, np.int64)
    ordering = PageOrder(np.array(pages, np.int64), window, seed=3)
    order = ordering.order(indices, epoch)
    assert sorted(order) == list(range(len(indices)))
    read = ordering.pages[indices[order]]
    stretches = [(at[0], at[-1]) for page in set(read) if len(at := np.flatnonzero(read == page))]
    open_at = [sum(begin <= i <= end for begin, end in stretches) for i in range(len(read))]
    assert max(open_at, default=0) <= window + 1
    if window == 1:
        assert max(open_at, default=0) <= 1


@settings(max_examples=50)
@given(st.integers(1, 20), st.randoms(use_true_random=False))
def test_where_an_example_comes_depends_on_the_examples_and_not_on_their_order(window, random) -> None:
    ordering = PageOrder(np.arange(200) // 10, window, seed=3)
    indices = np.array(random.sample(range(200), 77))
    other = indices[::-1].copy()
    assert np.array_equal(indices[ordering.order(indices, 2)], other[ordering.order(other, 2)])


def test_batches_of_a_file_sorted_by_class_have_the_classes_of_a_window_of_pages() -> None:
    """Chi-square of the classes in a batch is what a uniform shuffle has, once the window is wide."""
    classes = np.arange(20_000) // 2_000
    pages = np.arange(20_000) // 100

    def unevenness(order: np.ndarray) -> float:
        batches = classes[order].reshape(-1, 100)
        counts = np.stack([(batches == c).sum(1) for c in range(10)], 1)
        return float(((counts - 10) ** 2 / 10).sum(1).mean())

    everyone = np.arange(20_000)
    uniform = unevenness(np.random.default_rng(0).permutation(20_000))
    by_window = {w: unevenness(PageOrder(pages, w, seed=1).order(everyone, 0)) for w in (1, 8, 64, 400)}
    assert by_window[1] > 50 * uniform
    assert by_window[1] > by_window[8] > by_window[64]
    assert by_window[64] < 3 * uniform
    assert by_window[400] == pytest.approx(uniform, rel=0.2)


def test_neighbours_lie_as_far_apart_as_in_a_uniform_shuffle_where_the_window_is_wide() -> None:
    pages = np.arange(20_000) // 100
    everyone = np.arange(20_000)
    distance = {
        w: np.abs(np.diff(PageOrder(pages, w, seed=1).order(everyone, 0))).mean() for w in (1, 8, 400)
    }
    assert distance[1] < 500
    assert distance[8] == pytest.approx(20_000 / 3, rel=0.25)  # pages of a window are anywhere in the file
    assert distance[400] == pytest.approx(20_000 / 3, rel=0.03)


def ranks_of(shard_block: int | None, window: int, world_size: int, n: int = 6_000):
    pruning = sadp_dist.PruningConfig(ratio=0.5, epochs=3, seed=2, shard_block=shard_block)
    store = sadp_dist.connect("memory:", run="pages", dataset_size=n, pruning=pruning)
    pages = np.arange(n) // 50
    order = PageOrder(pages, window, seed=2)
    samplers = [PruningSampler(store, 32, rank, world_size, page_order=order) for rank in range(world_size)]
    for sampler in samplers:
        sampler.set_epoch(1)
    return store, samplers, pages


@pytest.mark.parametrize("world_size", [1, 3, 4])
def test_ranks_read_each_page_once_but_for_those_at_the_cuts(world_size: int) -> None:
    _, samplers, pages = ranks_of(shard_block=500, window=4, world_size=world_size)
    read = [np.unique(pages[sampler.indices]) for sampler in samplers]
    for sampler, needed in zip(samplers, read, strict=True):
        in_order = pages[sampler.indices]
        stretch = [np.ptp(np.flatnonzero(in_order == page)) for page in needed]
        assert max(stretch) <= 5 * 50
    assert len(np.unique(np.concatenate(read))) == 120
    assert sum(map(len, read)) <= 120 + world_size - 1


def test_what_a_page_order_trains_on_is_what_the_plan_drew_with_its_weights() -> None:
    store, samplers, _ = ranks_of(shard_block=500, window=4, world_size=3)
    plan = store.plan(epoch=1, rank=0, world_size=1)
    trained = {
        i: w
        for sampler in samplers
        for i, w in zip(sampler.shard.indices, sampler.shard.weights, strict=True)
        if w > 0
    }
    assert trained == dict(zip(plan.indices, plan.weights, strict=True))


def test_a_start_batch_goes_on_in_the_page_order() -> None:
    _, (sampler, *_), _ = ranks_of(shard_block=500, window=4, world_size=3)
    whole = list(sampler)
    for start in (1, 7, sampler.batches):
        sampler.set_epoch(1, start_batch=start)
        assert list(sampler) == whole[32 * start :]
    sampler.set_epoch(2)
    assert list(sampler) != whole


def test_mistakes_are_one_line_that_says_what_is_allowed(store) -> None:
    with pytest.raises(UsageError, match=r"^window=0: must be at least 1 page$"):
        PageOrder(np.zeros(3, np.int64), 0)
    sampler = PruningSampler(store, 32, 0, 1, page_order=PageOrder(np.zeros(3, np.int64), 1))
    with pytest.raises(
        UsageError, match=r"^page_order: has the pages of 3 examples, but the store has 500 examples$"
    ):
        sampler.set_epoch(0)
