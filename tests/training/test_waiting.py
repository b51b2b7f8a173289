"""A training step, with scores and their push, never waits for its device."""

from collections import Counter

import pytest
import torch

from sadp_dist.selftest.waiting import values_read
from sadp_dist.training import parse_config
from sadp_dist.training.processes import Process
from sadp_dist.training.trainer import Trainer

SCORINGS = {
    "last layer": {"layers": "last"},
    "all layers": {"layers": "all"},
    "exact": {"layers": "last", "exact": True},
    "loss": {"score": "loss"},
}


@pytest.fixture
def trainer(recipe, request):
    """With SGD, since torch's AdamW reads a counter of its own, on the CPU."""
    raw = recipe(
        data={"augment": "crop", "padding": 1, "cutout": 2},
        training={"optimizer": "sgd", "learning_rate": 0.01, "accumulate": 2},
        scoring=request.param,
    )
    trainer = Trainer(parse_config(raw), Process(rank=0, world_size=1, device=torch.device("cpu")))
    trainer.sampler.set_epoch(0)
    yield trainer
    trainer.store.close()


def take_steps(trainer, batches):
    for number, (images, labels, indices, weights) in enumerate(batches):
        trainer.train_batch(images, labels, indices, weights, examples=64, last=number % 2 == 1)


def test_what_reads_values_is_seen():
    values = torch.arange(4.0, requires_grad=True)
    with values_read() as seen:
        values.sum().item()
        if values.detach().max() > 2:
            values.detach().tolist()
        torch.nonzero(values)
        values[values > 1].sum().backward()
    assert {"item", "__bool__", "tolist", "aten.nonzero.default"} <= set(seen)
    assert any("local_scalar_dense" in name for name in seen)


@pytest.mark.parametrize("trainer", SCORINGS.values(), ids=SCORINGS, indirect=True)
def test_a_step_reads_no_values_but_those_that_the_store_takes(trainer):
    batches = list(trainer.loader)[:4]
    take_steps(trainer, batches)  # constants are made at the first
    with values_read() as seen:
        take_steps(trainer, batches)
    # Indices, scores and which are valid, which from a GPU come by an event that nobody waits for. The
    # self-test of a GPU takes the same steps there.
    assert seen == Counter({"numpy": 3 * len(batches)})
