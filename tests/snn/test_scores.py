"""Scores of every network: of its classifier by default, and by the definition of Eq. 29."""

import pytest
import torch
from torch import nn

from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.snn import NETWORKS, build_network
from tests.scoring.networks import assert_close, losses, scores_by_definition

ON_FEATURES = ("spiking_mlp", "recurrent_snn", "recurrent_snn_plain")
CLASSES = 5


def build(name, **options):
    if name in ON_FEATURES:
        return build_network(name, CLASSES, image_size=1, channels=12, **options)
    return build_network(name, CLASSES, image_size=8 if "vgg" not in name else 32, **options)


def settle(network, inputs):
    """Evaluation, with norms that have seen inputs: else hardly a neuron would spike."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(inputs)
    return network.eval()


def score(scorer, network, inputs, labels, c):
    with scorer:
        (c * losses(network(inputs), labels)).sum().backward()
    return scorer.scores(c)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_last_layer_is_the_classifier_and_all_are_all_linear_and_convolutional_ones(name):
    with torch.device("meta"):
        network = build(name)
    (last,) = SpikeAwareScorer(network, "last").layers
    classifier = network.get_submodule(last)
    assert isinstance(classifier, nn.Linear)
    assert classifier.out_features == CLASSES
    layers = {key for key, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)}
    assert set(SpikeAwareScorer(network, "all").layers) == layers


@pytest.mark.parametrize("name", ["meta_spikeformer_15m", "spiking_resnet19"])
def test_scores_of_deep_networks_are_the_bound_by_its_definition(name):
    torch.manual_seed(0)
    images, labels, c = torch.randn(3, 3, 8, 8), torch.arange(3), torch.tensor([0.5, 2.0, 1.0])
    network = settle(build(name, time_steps=2), images)
    for layers in ("last", "all"):
        scorer = SpikeAwareScorer(network, layers, time_steps=2)
        scores = score(scorer, network, images, labels, c)
        assert_close(scores, scores_by_definition(network, images, labels, scorer.layers), relative=1e-3)


@pytest.mark.parametrize("layers", ["last", "all"])
def test_scores_of_a_recurrent_network_are_the_bound_by_its_definition(layers):
    """Its recurrent layers are called once for every time step."""
    torch.manual_seed(0)
    features, labels, c = torch.randn(6, 3, 12), torch.arange(3), torch.tensor([0.5, 2.0, 1.0])
    network = settle(build("recurrent_snn"), features)
    scorer = SpikeAwareScorer(network, layers)
    scores = score(scorer, network, features, labels, c)

    class ByExample(nn.Module):
        """Takes examples first, as the definition does."""

        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x):
            return self.network(x.transpose(0, 1))

    names = tuple(f"network.{name}" for name in scorer.layers)
    # What a recurrent layer is called with is [B, H] and no sequence: one of its rows is one time step.
    expected = scores_by_definition(ByExample(), features.transpose(0, 1), labels, names)
    assert_close(scores, expected, relative=1e-3)
