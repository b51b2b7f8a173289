"""Networks without norms: their size, their weights, and currents that keep their variance through depth."""

import math
from itertools import pairwise

import pytest
import torch
from spikingjelly.activation_based import layer
from spikingjelly.activation_based.neuron import LIFNode
from torch import nn

from sadp_dist.errors import UsageError
from sadp_dist.snn import NeuronConfig, build_network
from sadp_dist.snn.models.nf_resnet import ScaledBlock
from sadp_dist.snn.models.standardised import GAMMA, StandardisedConv2d
from sadp_dist.snn.models.vgg_ws import DROPOUT

NORM_FREE = ["nf_resnet34", "nf_resnet50", "nf_resnet101", "vgg11_ws"]


@pytest.fixture(autouse=True)
def _fixed_weights():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "of_torchvision"),
    [("nf_resnet34", 21_797_672), ("nf_resnet50", 25_557_032), ("nf_resnet101", 44_549_160)],
)
def test_resnets_have_a_gain_and_a_bias_where_torchvision_s_have_a_norm(name, of_torchvision):
    with torch.device("meta"):
        network = build_network(name, 1000, 224)
        assert sum(p.numel() for p in network.parameters()) == of_torchvision
        small = build_network(name, 10, 32)
    assert len(list(small.stem)) == 1  # it does not shrink small images
    gains = sum(m.gain.numel() for m in network.modules() if isinstance(m, StandardisedConv2d))
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        resnet = getattr(torchvision.models, name.removeprefix("nf_"))()
    assert gains == sum(m.weight.numel() for m in resnet.modules() if isinstance(m, nn.BatchNorm2d))


def test_vgg11_ws_has_eight_convolutions_and_one_linear_layer():
    widths = (2, 64, 128, 256, 256, 512, 512, 512, 512)
    expected = sum(9 * i * o + 2 * o for i, o in pairwise(widths)) + 512 * 11 + 11
    with torch.device("meta"):
        network = build_network("vgg11_ws", 11, 128, channels=2)
    assert sum(p.numel() for p in network.parameters()) == expected
    kinds = [type(m) for m in network.body]
    assert nn.MaxPool2d not in kinds and layer.MaxPool2d not in kinds
    neurons = [index for index, kind in enumerate(kinds) if issubclass(kind, LIFNode)]
    assert len(neurons) == 8
    assert all(kinds[index + 1] is layer.Dropout for index in neurons)
    assert {m.p for m in network.body if isinstance(m, layer.Dropout)} == {DROPOUT} == {0.4}
    with pytest.raises(UsageError, match="image_size=4 is too small for vgg11_ws, .* at least 8"):
        build_network("vgg11_ws", 11, 4)


@pytest.mark.parametrize("name", NORM_FREE)
def test_there_is_no_norm(name):
    with torch.device("meta"):
        network = build_network(name, 10, 32)
    assert not [m for m in network.modules() if "Norm" in type(m).__name__]
    assert not list(network.buffers())
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert all(isinstance(m, StandardisedConv2d) for m in convolutions)
    first, *others = convolutions
    assert first.gamma == 1.0  # it sees the image, the others spikes
    assert {m.gamma for m in others} == {GAMMA}


def test_gamma_undoes_what_the_step_does_to_a_variance_of_one():
    p = 0.5 * math.erfc(1 / math.sqrt(2))  # that a standard normal current reaches ϑ = 1
    assert round(1 / math.sqrt(p * (1 - p)), 2) == GAMMA


def test_weights_have_a_mean_of_zero_and_a_variance_of_gamma_squared_by_the_fan_in():
    conv = StandardisedConv2d(6, 4, 3)
    with torch.no_grad():
        conv.weight.mul_(3).add_(1)
        conv.gain.copy_(torch.tensor([1.0, 2.0, 0.5, -1.0])[:, None, None, None])
    weight = conv.get_weight().detach()
    torch.testing.assert_close(weight.mean(dim=(1, 2, 3)), torch.zeros(4), atol=1e-6, rtol=0)
    expected = GAMMA**2 * torch.tensor([1.0, 4.0, 0.25, 1.0]) / (6 * 9)
    torch.testing.assert_close(weight.var(dim=(1, 2, 3)), expected, rtol=1e-3, atol=0)
    x = torch.randn(1, 1, 6, 5, 5)
    conv.step_mode = "m"
    torch.testing.assert_close(conv(x)[0], nn.functional.conv2d(x[0], weight, conv.bias, padding=1))


@pytest.mark.parametrize("name", ["nf_resnet34", "nf_resnet50", "nf_resnet101"])
def test_currents_keep_the_variance_that_was_foreseen_through_depth(name):
    network = build_network(name, 10, 16, time_steps=1)
    blocks = [module for module in network.body if isinstance(module, ScaledBlock)]
    relative = []
    for block in blocks:
        block.register_forward_hook(
            lambda block, inputs, output: relative.append((output.var() / block.variance).item())
        )
    with torch.no_grad():
        network(torch.randn(4, 3, 16, 16))
    assert len(relative) == sum((3, 4, 23 if "101" in name else 6, 3))
    assert 0.5 < min(relative) < max(relative) < 1.3


def test_spikes_reach_the_last_layer_of_vgg11_ws_at_first():
    network = build_network("vgg11_ws", 11, 32, channels=2, time_steps=4)
    rates = []
    for module in network.modules():
        if isinstance(module, LIFNode):
            module.register_forward_hook(lambda module, inputs, output: rates.append(output.mean().item()))
    with torch.no_grad():
        network(torch.randn(2, 2, 32, 32))
    assert len(rates) == 8
    assert 0.01 < min(rates) < max(rates) < 0.4


@pytest.mark.parametrize("name", ["nf_resnet34", "nf_resnet50", "vgg11_ws"])
def test_the_gradient_reaches_every_parameter(name):
    network = build_network(name, 5, 16, time_steps=3, neuron=NeuronConfig(decay=0.5))
    logits = network(torch.randn(4, 3, 16, 16))
    nn.functional.cross_entropy(logits.mean(0), torch.arange(4)).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


def test_every_convolution_of_an_nf_resnet_sees_single_spikes():
    network = build_network("nf_resnet34", 5, 16, time_steps=2)
    seen = []
    for module in network.body.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda module, inputs, output: seen.append(set(inputs[0].unique().tolist()))
            )
    with torch.no_grad():
        network(torch.randn(2, 3, 16, 16))
    assert len(seen) == 2 * 16 + 3  # three shortcuts
    assert all(values == {0.0, 1.0} for values in seen)
