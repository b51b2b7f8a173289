"""Weighted draws without replacement, for any number of ranks."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from torch.utils.data import DataLoader, TensorDataset

from sadp_dist.errors import UsageError
from sadp_dist.loading import DistributedWeightedSampler
from tests.forked import run_ranks

RANK = Path(__file__).with_name("weighted_rank.py")


def some_weights(n=60, seed=0):
    return np.random.default_rng(seed).lognormal(sigma=1.5, size=n)


def shards(weights, num_samples, world_size, epoch=0, **options):
    """The shard of every rank."""
    found = []
    for rank in range(world_size):
        sampler = DistributedWeightedSampler(weights, num_samples, 4, rank, world_size, **options)
        sampler.set_epoch(epoch)
        found.append(sampler)
    return found


@settings(max_examples=80, deadline=None)
@given(
    weights=st.lists(st.one_of(st.just(0.0), st.floats(1e-150, 1e150)), min_size=1, max_size=50),
    share=st.floats(0, 1),
    world_size=st.integers(1, 7),
    epoch=st.integers(0, 3),
)
def test_each_epoch_has_exactly_s_examples_on_any_number_of_ranks(weights, share, world_size, epoch):
    S = int(share * np.count_nonzero(weights))
    samplers = shards(weights, S, world_size, epoch)
    assert {len(sampler) for sampler in samplers} == {-(-S // world_size)}
    drawn = [i for one in samplers for i in one.indices[one.position_weights > 0]]
    assert len(drawn) == len(set(drawn)) == S
    assert all(weights[i] > 0 for i in drawn)
    (alone,) = shards(weights, S, 1, epoch)
    assert set(drawn) == set(alone.indices)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(2, 40), share=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_probabilities_are_in_proportion_to_the_weights_up_to_one(n, share, seed):
    w = some_weights(n, seed)
    S = max(1, int(share * n))
    p = DistributedWeightedSampler(w, S).probabilities
    factor = brentq(lambda c: np.minimum(w * c, 1).sum() - S, 0, n / w.min(), xtol=1e-300, rtol=1e-14)
    np.testing.assert_allclose(p, np.minimum(w * factor, 1), rtol=1e-9)


def test_examples_are_drawn_as_often_as_their_probabilities_say():
    w, epochs = some_weights(), 4000
    sampler = DistributedWeightedSampler(w, 20)
    values, means, drawn = np.random.default_rng(1).normal(size=60), [], np.zeros(60)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        drawn[sampler.indices] += 1
        means.append(np.mean(sampler.position_weights * values[sampler.indices]))
    p = sampler.probabilities
    deviation = np.sqrt(p * (1 - p) / epochs)
    assert (np.abs(drawn / epochs - p) <= 4.5 * deviation + 1e-12).all()
    error = np.std(means) / np.sqrt(epochs)
    assert abs(np.mean(means) - values.mean()) < 4.5 * error < 0.03  # with weights: of all 60 examples


def test_a_loader_gives_the_drawn_examples_in_an_order_that_changes():
    sampler = DistributedWeightedSampler(some_weights(), 21, batch_size=4)
    loader = DataLoader(TensorDataset(torch.arange(60)), batch_size=4, sampler=sampler)
    orders = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is right not to ask for the weights
        for epoch in (0, 1, 2, 0):
            sampler.set_epoch(epoch)
            orders.append([int(i) for (batch,) in loader for i in batch])
    assert orders[0] == orders[3] != orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])
    with pytest.warns(UserWarning, match="set_epoch"):
        next(iter(loader))  # again without set_epoch


def test_weights_may_change_every_epoch():
    sampler = DistributedWeightedSampler(np.ones(60), 20)
    sampler.set_epoch(0)
    before = set(sampler.indices)
    active = np.zeros(60)
    active[:30] = 1
    sampler.set_weights(active)
    assert set(sampler.indices) == before  # of the epoch that has begun
    sampler.set_epoch(1)
    assert len(sampler) == 20 and set(sampler.indices) <= set(range(30))
    sampler.set_weights(active, num_samples=30)
    sampler.set_epoch(2)
    assert set(sampler.indices) == set(range(30))


def test_three_ranks_finish_the_epoch_that_two_have_begun():
    w, seen = some_weights(), Counter()

    def train(samplers, batches):
        for sampler in samplers:
            for batch in list(torch.tensor(sampler.indices).split(4))[:batches]:
                seen.update(batch[sampler.weights(batch) > 0].tolist())

    first = shards(w, 33, 2, epoch=5)
    train(first, 3)
    state = first[0].state_dict()
    second = [DistributedWeightedSampler(w, 33, 4, rank, 3) for rank in range(3)]
    for sampler in second:
        sampler.load_state_dict(state)
        sampler.set_epoch(5)
    train(second, None)
    (alone,) = shards(w, 33, 1, epoch=5)
    assert seen == Counter(alone.indices.tolist())

    other = DistributedWeightedSampler(w[::-1], 33, 4, 0, 2)
    other.load_state_dict(state)
    with pytest.raises(
        UsageError, match="plan of epoch=5 has other examples .* give the sampler the weights"
    ):
        other.set_epoch(5)


@pytest.mark.parametrize("differs", ["nothing", "weights", "num_samples", "batch_size", "seed"])
def test_ranks_with_other_arguments_are_refused_on_every_rank(differs):
    done = run_ranks([RANK, differs], 2)
    assert done.returncode == 0, done.stderr
    if differs == "nothing":
        assert done.stdout.split() == ["20"]
    else:
        assert f"{differs}: rank 0 has " in done.stdout and "rank 1 has" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"weights": [1, -1.0]}, r"weights\[1\]=-1.0: must be a finite number"),
        ({"weights": [1, np.nan]}, r"weights\[1\]=nan"),
        ({"weights": [np.inf, 1]}, r"weights\[0\]=inf"),
        ({"weights": [[1.0, 2.0]]}, r"weights: float64 \(1, 2\); must be numbers of shape \(N,\)"),
        ({"weights": ["a"]}, r"must be numbers of shape"),
        ({"num_samples": 3}, "num_samples=3: only 2 of 3 weights are above 0, .* at most 2"),
        ({"num_samples": -1}, "num_samples=-1: must be an integer, at least 0"),
        ({"num_samples": 1.5}, "num_samples=1.5: must be an integer"),
        ({"seed": -1}, "seed=-1: must be an integer"),
    ],
)
def test_wrong_arguments_are_refused(arguments, said):
    with pytest.raises(UsageError, match=said):
        DistributedWeightedSampler(**{"weights": [1.0, 0.0, 2.0], "num_samples": 2, **arguments})


def test_the_probabilities_cannot_be_changed_from_outside():
    sampler = DistributedWeightedSampler([1, 2, 3], 2)
    with pytest.raises(ValueError):
        sampler.probabilities[0] = 1.0
