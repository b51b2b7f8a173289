"""A mistake is one line that says what is allowed."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from sadp_dist.errors import UsageError
from sadp_dist.scoring import SpikeAwareScorer
from tests.scoring.networks import SpikingNetwork, batch, hint, losses


def frozen(*names: str) -> SpikingNetwork:
    network = SpikingNetwork()
    for name in names:
        network.get_submodule(name).requires_grad_(False)
    return network


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": ["haed"]}, 'such as "head"; did you mean "head"?'),
        ({"layers": "lats"}, '; did you mean "last"?'),
        (
            {"layers": ["head", "conv"]},
            'no module \'conv\'; use "last", "all" or names of Linear, Conv or Embedding layers, such as ',
        ),
        ({"layers": []}, 'layers is empty; give "last", "all" or a list of module names'),
        ({"layers": ["norm"]}, "'norm' has type BatchNorm2d; give names of Linear, Conv or Embedding layers"),
        ({"layers": ["conv1"]}, "'conv1' is frozen; give names of trainable layers"),
        (
            {"layers": ["fc", "conv2"], "exact": True},
            "exact=True needs Linear or Embedding layers, but 'conv2' has type Conv2d",
        ),
        ({"layers": "all", "exact": True}, "exact=True needs Linear or Embedding layers, but 'conv2'"),
        ({"time_steps": 0}, "time_steps=0 must be at least 1; give the network's number of time steps"),
    ],
)
def test_layers_that_cannot_be_scored_are_refused_at_the_door(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        SpikeAwareScorer(frozen("conv1"), **arguments)
    assert "\n" not in str(error.value)


def test_a_name_unlike_any_other_gets_no_suggestion() -> None:
    with pytest.raises(UsageError) as error:
        SpikeAwareScorer(frozen("conv1"), layers=["embedding"])
    assert "did you mean" not in str(error.value)


def test_frozen_layers_are_not_chosen() -> None:
    assert SpikeAwareScorer(frozen("head")).layers == ("fc",)
    assert SpikeAwareScorer(frozen("head", "conv2"), "all").layers == ("conv1", "fc")


@pytest.mark.parametrize("layers", ["last", "all"])
def test_a_model_with_nothing_to_score_is_refused(layers: str) -> None:
    model = nn.Sequential(nn.Linear(2, 2).requires_grad_(False), nn.BatchNorm1d(2))
    with pytest.raises(UsageError, match="the model has no trainable Linear, Conv or Embedding layer"):
        SpikeAwareScorer(model, layers)


@pytest.mark.parametrize("way", ["multi-step", "single-step", "flattened"])
def test_coefficients_of_another_length_are_refused_and_the_scores_can_still_be_had(way: str) -> None:
    network, (images, labels, c) = SpikingNetwork(way), batch()
    scorer = SpikeAwareScorer(network, "all", **hint(way))
    with scorer:
        (c * losses(network(images), labels)).sum().backward()
    for wrong in (1, 2, 3, 5, 7, 12, 24, 48):  # 3 are the images' channels
        with pytest.raises(UsageError, match=f"coefficients has {wrong} entries, but ") as error:
            scorer.scores(torch.ones(wrong))
        assert "\n" not in str(error.value)
    for wrong in (torch.ones(()), torch.ones(0), torch.ones(6, 1)):
        shape = re.escape(str(list(wrong.shape)))
        with pytest.raises(UsageError, match=f"coefficients has shape {shape}; give one number per example"):
            scorer.scores(wrong)
    assert scorer.scores(c).isfinite().all()


@pytest.mark.parametrize("features", [3, 4])
@pytest.mark.parametrize("wrong", [1, 2, 4, 16])
def test_a_divisor_or_a_multiple_of_the_batch_is_no_number_of_coefficients(features: int, wrong: int) -> None:
    model = nn.Linear(features, 5)
    scorer = SpikeAwareScorer(model)
    with scorer:
        model(torch.rand(8, features)).sum().backward()
    with pytest.raises(UsageError, match=f"coefficients has {wrong} entries, but "):
        scorer.scores(torch.ones(wrong))
    assert scorer.scores(torch.ones(8)).shape == (8,)


def test_a_call_without_a_gradient_may_be_of_another_batch() -> None:
    model = nn.Linear(3, 5)
    scorer = SpikeAwareScorer(model)
    with scorer:
        with torch.no_grad():
            model(torch.rand(7, 3))
        model(torch.rand(8, 3)).sum().backward()
    assert scorer.scores(torch.ones(8)).shape == (8,)


def test_scores_are_had_once() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network)
    with pytest.raises(
        UsageError, match="the scored layers have no gradient; run a forward and its backward"
    ):
        scorer.scores(c)
    with scorer:
        (c * losses(network(images), labels)).sum().backward()
    scorer.scores(c)
    with pytest.raises(UsageError, match="the scored layers have no gradient"):
        scorer.scores(c)


def test_a_forward_without_its_backward_is_no_score() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network)
    with scorer:
        loss = (c * losses(network(images), labels)).sum()
    loss.backward()
    with pytest.raises(UsageError, match="run a forward and its backward inside `with scorer:`"):
        scorer.scores(c)


def test_a_layer_that_the_loss_does_not_reach_is_named() -> None:
    model = nn.ModuleDict({"used": nn.Linear(4, 4), "spare": nn.Linear(4, 4)})
    scorer = SpikeAwareScorer(model, ["used", "spare"])
    for call_spare in (False, True):
        with scorer:
            x = torch.rand(3, 4)
            if call_spare:
                model["spare"](x)
            model["used"](x).sum().backward()
        with pytest.raises(UsageError, match="layer 'spare' has no gradient; give layers="):
            scorer.scores(torch.ones(3))
