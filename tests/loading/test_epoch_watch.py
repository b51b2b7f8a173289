"""Mistakes of a training loop are said once, in one line with both numbers; a right loop is not disturbed."""

import re
import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import sadp_dist
from sadp_dist import PruningConfig
from sadp_dist.errors import UsageError
from sadp_dist.loading import PruningSampler, SequentialShard, TorchLoader

N = 42
DATASET = TensorDataset(torch.arange(N))


def run_of(world_size=1, batch_size=5, dataset_size=N, **pruning):
    """A store and this rank's sampler; the other ranks of a world are not there."""
    config = PruningConfig(**{"ratio": 0.5, "epochs": 6, "min_probability": 0.1, **pruning})
    store = sadp_dist.connect("memory:", run="x", dataset_size=dataset_size, pruning=config)
    return store, PruningSampler(store, batch_size, rank=0, world_size=world_size)


def train(store, sampler, loader, epoch, push=True, weights=True, batches=None):
    sampler.set_epoch(epoch)
    for number, (index,) in enumerate(loader):
        if number == batches:
            break
        if weights:
            kept = sampler.weights(index) > 0
        if push:
            scores = torch.linspace(1, 2, len(index))
            store.push(index, scores, epoch=epoch, valid=kept if weights else None)


def said(caught):
    return [str(warning.message) for warning in caught if warning.category is UserWarning]


def warnings_of(epochs, world_size=1, loader=None, pruning=None, **options):
    """What training warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store, sampler = run_of(world_size, **(pruning or {}))
        loader = DataLoader(DATASET, 5, sampler=sampler, **(loader or {}))
        for epoch in range(epochs):
            train(store, sampler, loader, epoch, **options)
    return said(caught)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loader": {"num_workers": 1}},
        {"pruning": {"method": "random"}, "push": False},  # a rule that needs no scores
        {"pruning": {"method": "full"}, "push": False, "weights": False},  # all weights are 1
        {"pruning": {"scheme": "bernoulli"}},
    ],
)
def test_a_loop_that_does_as_it_should_warns_of_nothing(options):
    assert warnings_of(3, **options) == []


def test_padding_and_steps_that_overflow_are_not_missing():
    store, sampler = run_of(world_size=4, ratio=0.45)
    sampler.set_epoch(0)
    assert (sampler.position_weights == 1).all()
    _, last = run_of()
    last = PruningSampler(store, 5, rank=3, world_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        last.set_epoch(0)
        assert last.position_weights[-1] == 0
        for (index,) in DataLoader(DATASET, 5, sampler=last):
            real = last.weights(index) > 0
            store.push(index[real], torch.ones(int(real.sum())), epoch=0)
        last.set_epoch(1)
        for (index,) in DataLoader(DATASET, 5, sampler=last):
            last.weights(index)
            scores = torch.full((len(index),), float("nan"))
            store.push(index, scores, epoch=1, valid=torch.zeros(len(index), dtype=torch.bool))
        last.set_epoch(2)


def test_scores_that_are_never_pushed_are_missed_once():
    (message,) = warnings_of(4, push=False)
    assert message.startswith(
        "epoch=0: the store got scores of 0 of the 21 examples that this rank trained on"
    )


def test_scores_of_some_batches_or_of_another_epoch_are_missed():
    store, sampler = run_of()
    train(store, sampler, DataLoader(DATASET, 5, sampler=sampler), 0)
    sampler.set_epoch(1)
    for number, (index,) in enumerate(DataLoader(DATASET, 5, sampler=sampler)):
        sampler.weights(index)
        store.push(index, torch.ones(len(index)), epoch=1 if number < 2 else 0)
    with pytest.warns(UserWarning, match="epoch=1: the store got scores of 10 of the 21 examples"):
        sampler.set_epoch(2)


def test_an_epoch_that_ends_early_names_both_numbers_and_the_likely_cause():
    (message,) = warnings_of(3, batches=2)
    assert message.startswith("epoch=0: this rank trained on 10 of its 21 examples; the loop probably ended")
    (message,) = warnings_of(3, loader={"drop_last": True})
    assert message.startswith("epoch=0: this rank trained on 20 of its 21 examples; this is the last partial")
    (message,) = warnings_of(3, world_size=2, batches=1, push=False)[:1]
    assert message.startswith("epoch=0: this rank trained on 5 of its 11 examples; the loader was probably")


def test_weights_that_nobody_asks_for_are_missed_where_they_are_not_all_one():
    (message,) = warnings_of(4, weights=False)
    assert re.match(r"epoch=1: sampler.weights\(index\) was called for 0 of 21 examples; multiply", message)


def test_a_pass_without_set_epoch_is_said_by_every_loader():
    _, sampler = run_of()
    images = [(torch.zeros(1), 0)] * N
    for loader in (DataLoader(DATASET, 5, sampler=sampler), TorchLoader(images, sampler)):
        sampler.set_epoch(0)
        sampler._told.clear()
        next(iter(loader))  # a look at the first batch is none
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            list(loader)
        with pytest.warns(UserWarning, match="epoch=0 is read again: each pass has the same 21 examples"):
            list(loader)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # only once
            list(loader)
    test = SequentialShard(N, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(test) == list(test)


def test_going_back_is_refused_until_the_store_is_reset():
    store, sampler = run_of()
    sampler.set_epoch(0)
    sampler.set_epoch(3)
    with pytest.raises(UsageError, match="epoch=2 of run 'x' is over: the run is at epoch=3"):
        sampler.set_epoch(2)
    store.reset()
    sampler.set_epoch(0)
    assert sampler.epoch == 0


def test_a_resumed_epoch_misses_only_its_rest(tmp_path):
    store, sampler = run_of()
    loader = DataLoader(DATASET, 5, sampler=sampler)
    train(store, sampler, loader, 0, batches=2)
    store.save(tmp_path / "x.npz")
    resumed, other = run_of()
    resumed.load(tmp_path / "x.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.set_epoch(0, start_batch=2)
        for (index,) in DataLoader(DATASET, 5, sampler=other):
            other.weights(index)
            resumed.push(index, torch.ones(len(index)), epoch=0)
        other.set_epoch(1)
    assert resumed.stats().seen == 21


@pytest.mark.parametrize("epoch", [6, 2**31 - 1])
def test_a_push_for_an_epoch_outside_of_the_run_is_refused(epoch):
    store, _ = run_of()
    with pytest.raises(UsageError, match=rf"^epoch={epoch} is not an epoch of this run: 0..5"):
        store.push([1], [1.0], epoch=epoch)
    assert store.stats().seen == 0


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("pruning", [{"max_ratio": 0.8}, {"method": "random"}, {"method": "full"}])
def test_total_batches_is_what_the_epochs_have(world_size, pruning):
    store, sampler = run_of(world_size, batch_size=4, **pruning)
    counts = []
    for epoch in range(6):
        sampler.set_epoch(epoch)
        counts.append(sampler.batches)
    assert sampler.total_batches() == sum(counts)
    assert sampler.total_batches(2) == sum(counts[:2])
    assert sampler.total_batches(accumulate=3) == sum(-(-count // 3) for count in counts)
    with pytest.raises(UsageError, match=r"epochs=7 is not in 1..6"):
        sampler.total_batches(7)
    store.close()


def test_a_share_that_rounds_to_nothing_is_said_before_the_run():
    with pytest.raises(
        UsageError,
        match=r"^the ratio 0.99 of dataset_size=33 keeps 0.33 examples, rounded to 0, so no epoch trains",
    ):
        run_of(dataset_size=33, ratio=0.99)
    with pytest.warns(UserWarning, match=r"so epoch 6 of 6 and others like it train on nothing"):
        run_of(dataset_size=4, ratio=0.75, max_ratio=0.95)
    store, sampler = run_of(dataset_size=1, method="infobatch", ratio=0.5)  # keeps what has no score
    sampler.set_epoch(1)
    assert len(sampler) == 1
    assert np.isnan(store.scores([0])).all()
