"""Parallel neurons follow their definition, and work in every feed-forward network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sadp_dist.errors import UsageError
from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.snn import NETWORKS, NeuronConfig, build_network
from sadp_dist.snn.neurons import NEURONS
from tests.scoring.networks import assert_close, losses, scores_by_definition

PARALLEL = [kind for kind in NEURONS if kind != "lif"]
FOR_FEATURES = ("spiking_mlp", "recurrent_snn", "recurrent_snn_plain")
# Each kind of network, at a size that is quick.
SIZES = {
    "small_cnn": 8,
    "spiking_resnet18": 8,
    "spiking_resnet19": 8,
    "sew_resnet18": 8,
    "vgg11": 32,
    "vgg11_ws": 8,
    "nf_resnet34": 8,
    "meta_spikeformer_15m": 8,
    "spiking_mlp": 1,
}


def weights_by_definition(kind, order, layer, time_steps):
    """W[t, s], how much the potential at t takes of the current at s."""
    w = layer.weight.detach().numpy()
    by_definition = np.zeros((time_steps, time_steps))
    for t in range(time_steps):
        for s in range(time_steps):
            ago = t - s
            if kind == "psn" or (kind == "masked_psn" and 0 <= ago < order):
                by_definition[t, s] = w[t, s]
            elif kind == "sliding_psn" and 0 <= ago < order:
                by_definition[t, s] = w[order - 1 - ago]
    return by_definition


@settings(max_examples=40)
@given(
    kind=st.sampled_from(PARALLEL),
    time_steps=st.integers(1, 6),
    order=st.integers(1, 4),
    threshold=st.floats(0.05, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_spikes_and_gradients_are_those_of_one_product(kind, time_steps, order, threshold, seed):
    torch.manual_seed(seed)
    order = min(order, time_steps) if kind != "psn" else 2
    options = {} if kind == "psn" else {"order": order}
    config = NeuronConfig(kind=kind, threshold=threshold, surrogate="sigmoid", **options)
    layer = config.build(time_steps).double()
    with torch.no_grad():
        layer.bias.add_(torch.randn_like(layer.bias) / 10)
    x = torch.randn(time_steps, 3, 5, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn_like(x)
    spikes = layer(x)
    spikes.backward(upstream)

    w = weights_by_definition(kind, order, layer, time_steps)
    bias = layer.bias.detach().numpy().reshape(-1, 1, 1)
    h = np.einsum("ts,sbn->tbn", w, x.detach().numpy()) + bias
    np.testing.assert_array_equal(spikes.detach().numpy(), (h >= 0).astype(float))
    σ = 1 / (1 + np.exp(-4 * h))
    error = upstream.numpy() * 4 * σ * (1 - σ)
    np.testing.assert_allclose(x.grad.numpy(), np.einsum("ts,tbn->sbn", w, error), rtol=1e-9, atol=1e-12)
    of_bias = error.sum(axis=(1, 2)) if layer.bias.dim() else error.sum()
    np.testing.assert_allclose(layer.bias.grad.numpy().reshape(of_bias.shape), of_bias, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", PARALLEL)
def test_neurons_begin_with_the_threshold_of_the_configuration(kind):
    layer = NeuronConfig(kind=kind, threshold=0.75).build(4)
    assert set(layer.bias.detach().flatten().tolist()) == {-0.75}
    layer.v_threshold /= 2  # as a Meta-SpikeFormer does behind its attention
    assert set(layer.bias.detach().flatten().tolist()) == {-0.375}


@pytest.mark.parametrize("kind", PARALLEL)
def test_under_mixed_precision_potentials_are_those_of_single_precision(kind):
    torch.manual_seed(0)
    layer = NeuronConfig(kind=kind, threshold=0.1).build(8)
    x = torch.randn(8, 2, 1000).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        spikes = layer(x)
    assert spikes.dtype == torch.bfloat16
    assert 0.05 < spikes.float().mean() < 0.95
    assert torch.equal(spikes.float(), layer(x.float()))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "psn") for name in SIZES if name != "small_cnn"),
        *(("small_cnn", kind) for kind in PARALLEL),
        ("sew_resnet18", "masked_psn"),
    ],
)
def test_networks_take_a_step_with_them_under_mixed_precision(name, kind):
    torch.manual_seed(0)
    size = SIZES[name]
    network = build_network(name, 5, size, time_steps=3, neuron=NeuronConfig(kind=kind, threshold=0.25))
    x = torch.randn(3, 2, 3) if size == 1 else torch.randn(2, 3, size, size)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(x)
    assert logits.shape == (3, 2, 5)
    nn.functional.cross_entropy(logits.float().mean(0), torch.arange(2)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    first = next(module for module in network.modules() if getattr(module, "stepwise", True) is False)
    assert first.weight.grad.any()


@pytest.mark.parametrize(
    "name", [name for name in NETWORKS if "revsnn" not in name and "recurrent" not in name]
)
def test_every_feed_forward_network_can_be_built_with_them(name):
    size = 1 if name in FOR_FEATURES else 32
    with torch.device("meta"):
        network = build_network(name, 5, size, time_steps=6, neuron=NeuronConfig(kind="psn"))
    layers = [module for module in network.modules() if getattr(module, "stepwise", True) is False]
    assert len(layers) > 2
    assert {layer.T for layer in layers} == {6}


def test_a_network_of_them_is_scored_by_the_definition():
    torch.manual_seed(0)
    config = NeuronConfig(kind="psn", threshold=0.1)
    network = build_network("small_cnn", 5, 8, time_steps=3, neuron=config).eval()
    images, labels, c = torch.randn(3, 3, 8, 8), torch.arange(3), torch.tensor([0.5, 2.0, 1.0])
    for layers in ("last", "all"):
        scorer = SpikeAwareScorer(network, layers, time_steps=3)
        with scorer:
            (c * losses(network(images), labels)).sum().backward()
        scores = scorer.scores(c)
        assert scores.min() > 0
        assert_close(scores, scores_by_definition(network, images, labels, scorer.layers), relative=1e-3)


def test_another_number_of_time_steps_is_refused_but_for_sliding_ones():
    frames = torch.randn(5, 2, 2, 8, 8)
    for kind in ("psn", "masked_psn"):
        network = build_network("small_cnn", 5, 8, 2, time_steps=4, neuron=NeuronConfig(kind=kind))
        said = "the input has 5 time steps, .* for 4; set network.time_steps=5, or use .*kind=.sliding_psn"
        with pytest.raises(UsageError, match=said):
            network(frames)
    sliding = build_network(
        "small_cnn", 5, 8, 2, time_steps=4, neuron=NeuronConfig(kind="sliding_psn")
    ).eval()
    with torch.no_grad():
        logits = sliding(frames)
        torch.testing.assert_close(sliding(frames[:3]), logits[:3])  # the future does not act on the past


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kind": "psnn"}, 'kind=\'psnn\' is not known; use one of "lif", .* did you mean "psn"'),
        ({"kind": "psn", "decay": 0.5}, 'decay is an option of kind="lif", and kind is "psn"; remove decay'),
        ({"kind": "masked_psn", "reset": "zero"}, 'reset is an option of kind="lif", and kind is "masked_'),
        ({"kind": "sliding_psn", "detach_reset": True}, 'detach_reset is an option of kind="lif"'),
        ({"kind": "psn", "backend": "inductor"}, 'backend is an option of kind="lif"'),
        ({"kind": "psn", "order": 3}, 'order is an option of kind="masked_psn" or kind="sliding_psn"'),
        ({"order": 3}, 'and kind is "lif"; remove order'),
        ({"kind": "sliding_psn", "order": 0}, "order=0 is not an integer of at least 1"),
    ],
)
def test_settings_that_make_no_neuron_are_refused_in_one_line(setting, message):
    with pytest.raises(UsageError, match=message) as refusal:
        NeuronConfig(**setting)
    assert "\n" not in str(refusal.value)


def test_what_cannot_be_built_is_refused_in_one_line():
    for config, time_steps, message in (
        (NeuronConfig(kind="psn"), None, 'kind="psn" needs time_steps'),
        (NeuronConfig(kind="masked_psn", order=5), 4, "order=5 is more than time_steps=4"),
    ):
        with pytest.raises(UsageError, match=message):
            config.build(time_steps)
    for kind in PARALLEL:
        with pytest.raises(
            UsageError, match="PSN computes all time steps at once; use network.neuron.kind=lif"
        ):
            build_network("recurrent_snn", 5, image_size=1, channels=4, neuron=NeuronConfig(kind=kind))
