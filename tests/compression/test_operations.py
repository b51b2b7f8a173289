"""Synaptic operations against a count, one connection after the other."""

from __future__ import annotations

import itertools

import pytest
import torch
from spikingjelly.activation_based import layer
from torch import nn

from sadp_dist.snn import NeuronConfig, SpikingNetwork, build_network, lif
from sadp_dist.snn.compression.operations import operations, synaptic_operations


def spikes(*shape: int) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.4).float()


def half_connected(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        module.weight.mul_(torch.rand(module.weight.shape, generator=generator) < 0.5)
    return module


def test_of_a_linear_layer() -> None:
    linear, o = half_connected(nn.Linear(5, 3)), spikes(2, 4, 5)
    counted = sum(
        int(o[t, b, j] != 0 and linear.weight[i, j] != 0)
        for t, b, i, j in itertools.product(range(2), range(4), range(3), range(5))
    )
    assert counted > 0
    assert operations(linear, o) == counted


@pytest.mark.parametrize("groups", [1, 2])
def test_of_a_convolution_with_stride_padding_and_groups(groups: int) -> None:
    conv = half_connected(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=groups))
    o = spikes(2, 4, 5, 5)
    size, counted = 3, 0
    for b, i, y, x in itertools.product(range(2), range(6), range(size), range(size)):
        for j, dy, dx in itertools.product(range(4 // groups), range(3), range(3)):
            channel = j + (i // (6 // groups)) * (4 // groups)
            row, column = 2 * y + dy - 1, 2 * x + dx - 1
            inside = 0 <= row < 5 and 0 <= column < 5
            counted += int(inside and o[b, channel, row, column] != 0 and conv.weight[i, j, dy, dx] != 0)
    assert operations(conv, o) == counted
    assert operations(conv, o.unsqueeze(0)) == counted, "with a dimension of time"


def test_of_a_convolution_over_time() -> None:
    conv, o = half_connected(nn.Conv1d(3, 2, 3, padding=1)), spikes(2, 3, 6)
    outputs = nn.functional.conv1d((o != 0).float(), (conv.weight != 0).float(), padding=1)
    assert operations(conv, o) == outputs.sum()


def test_of_a_network_they_are_an_examples_over_all_steps() -> None:
    torch.manual_seed(0)
    hidden = layer.Linear(6, 4)
    network = SpikingNetwork(
        nn.Identity(), nn.Sequential(lif(), hidden, lif(), layer.Linear(4, 2)), time_steps=3
    )
    x = 2 * torch.rand(3, 5, 6)  # [T, B, F]
    seen: list[torch.Tensor] = []
    hook = hidden.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    network(x)
    hook.remove()
    found = synaptic_operations(network, [x[:, :2], x[:, 2:]])
    assert list(found) == ["body.1", "body.3"]
    assert found["body.1"] == pytest.approx(float(seen[0].sum()) * 4 / 5)
    assert network.training, "it is left as it was"
    assert not hidden._forward_pre_hooks


def test_fewer_connections_cost_fewer() -> None:
    torch.manual_seed(0)
    neuron = NeuronConfig(threshold=0.1)
    network = build_network("small_cnn", 4, image_size=8, channels=1, time_steps=2, neuron=neuron)
    images = torch.rand(4, 1, 8, 8)
    network(images)
    dense = synaptic_operations(network, [images])
    half_connected(network.body[1])
    sparse = synaptic_operations(network, [images])
    assert 0 < sparse["body.1"] < dense["body.1"]
    assert "stem.0" not in dense
