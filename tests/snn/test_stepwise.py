"""Time in parts: a network that is given one time step after another does what it does with all at once."""

import pytest
import torch
from spikingjelly.activation_based import functional

from sadp_dist.snn import NeuronConfig, build_network
from sadp_dist.snn.models.features import RecurrentNeurons
from tests.snn.test_scores import settle

SIZES = {
    "small_cnn": 8,
    "spiking_resnet18": 8,
    "spiking_resnet19": 8,
    "sew_resnet18": 8,
    "nf_resnet34": 8,
    "vgg11": 32,
    "vgg11_ws": 8,
    "meta_spikeformer_15m": 8,
    "spiking_mlp": 1,
    "recurrent_snn": 1,
    "recurrent_snn_plain": 1,
}


def one_by_one(network, x):
    """Logits of a sequence [T, B, ...] whose time steps come in calls of their own."""
    network.reset()
    try:
        return torch.cat([network.body(network.stem(step.unsqueeze(0))) for step in x])
    finally:
        network.reset()


@pytest.mark.parametrize("name", SIZES)
def test_calls_of_one_time_step_are_one_call_of_all(name):
    torch.manual_seed(0)
    size = SIZES[name]
    x = torch.randn(4, 2, 3) if size == 1 else torch.randn(4, 2, 3, size, size)
    network = settle(build_network(name, 5, size, neuron=NeuronConfig(decay=0.5, threshold=0.5)), x)
    assert all(getattr(module, "stepwise", True) for module in network.modules())
    with torch.no_grad():
        together = network(x)
        torch.testing.assert_close(one_by_one(network, x), together, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(together[1], network(x[1:])[0])  # the past acts on the present


def test_the_same_neurons_are_dropped_at_all_time_steps_of_a_step():
    network = build_network("vgg11_ws", 5, 8)
    x = torch.randn(3, 2, 3, 8, 8)
    logits = []
    for run in (network, lambda x: one_by_one(network, x)):
        torch.manual_seed(0)
        with torch.no_grad():
            logits.append(run(x))
    torch.testing.assert_close(logits[0], logits[1])


def test_recurrent_neurons_keep_their_last_spikes_until_the_reset():
    torch.manual_seed(0)
    neurons = RecurrentNeurons(16, NeuronConfig(decay=0.5).build())
    x = torch.randn(6, 2, 16)
    whole = neurons(x)
    last = neurons.o
    assert torch.equal(last, whole[-1])
    functional.detach_net(neurons)
    assert not neurons.o.requires_grad
    functional.reset_net(neurons)
    assert neurons.o is None
    assert torch.equal(torch.cat([neurons(x[:2]), neurons(x[2:3]), neurons(x[3:])]), whole)
    assert not torch.equal(neurons(x), whole)  # goes on from there
    functional.reset_net(neurons)
    assert torch.equal(neurons(x), whole)


@pytest.mark.parametrize(
    ("name", "neuron"),
    [
        ("small_cnn", NeuronConfig(kind="psn")),
        ("small_cnn", NeuronConfig(kind="masked_psn")),
        ("small_cnn", NeuronConfig(kind="sliding_psn")),
        ("t_revsnn_small", NeuronConfig()),
    ],
)
def test_what_cannot_take_time_in_parts_says_so(name, neuron):
    with torch.device("meta"):
        network = build_network(name, 5, 8, neuron=neuron)
    assert any(getattr(module, "stepwise", True) is False for module in network.modules())
