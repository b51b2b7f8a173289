"""Pruning by activity: which channels go, which come back, and that those that are out never spike."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import layer
from spikingjelly.activation_based.neuron import PSN
from torch import nn

from sadp_dist.errors import UsageError
from sadp_dist.snn import SpikingNetwork, build_network
from sadp_dist.snn.compression import CompressionConfig, build_compression
from sadp_dist.snn.compression.activity_pruning import ActivityPruning, find_units
from sadp_dist.snn.layers import weighted_layers


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return build_network("small_cnn", 4, image_size=8, channels=1, time_steps=2)


def attached(network: nn.Module, **keys: object) -> ActivityPruning:
    method = build_compression(CompressionConfig(method="activity-pruning", **keys))  # type: ignore[arg-type]
    method.attach(network, seed=0)
    assert isinstance(method, ActivityPruning)
    return method


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-3)


def train(network: nn.Module, method: ActivityPruning, epochs: int, of: int) -> torch.optim.Optimizer:
    optimizer = sgd(network)
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(12, 1, 8, 8, generator=generator), torch.arange(12) % 4
    for epoch in range(epochs):
        for _ in range(2):
            nn.functional.cross_entropy(network(images).mean(dim=0), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            method.after_step(optimizer)
        method.after_epoch(epoch, of, optimizer, lambda total: total)
    return optimizer


def masks(method: ActivityPruning) -> list[torch.Tensor]:
    return [value for name, value in method.state_dict().items() if name.startswith("mask_")]


def test_activity_is_the_mean_of_spikes_and_potentials() -> None:
    network = small_network()
    method = attached(network)
    spikes: list[torch.Tensor] = []
    neurons = network.body[3]
    neurons.register_forward_hook(lambda module, args, o: spikes.append(o + module.v_seq.abs()))
    images = torch.rand(6, 1, 8, 8)
    for batch in (images[:4], images[4:]):
        network(batch)
    network.eval()
    network(images)  # an evaluation is not part of it
    both = method.activity_1
    everything = torch.cat(spikes[:2], dim=1)
    assert torch.allclose(both[:-1] / both[-1], everything.double().mean(dim=(0, 1, 3, 4)), atol=1e-6)


def pruned_by(scope: str) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Activities that grow from layer to layer, and what is left of the channels."""
    network = small_network()
    method = attached(network, connectivity=0.5, until=0.1, scope=scope)
    generator = torch.Generator().manual_seed(0)
    values = [torch.rand(mask.shape, generator=generator) + place for place, mask in enumerate(masks(method))]
    for place, value in enumerate(values):
        method.get_buffer(f"activity_{place}").copy_(torch.cat([3 * value, torch.tensor([3.0])]))
    method.after_epoch(0, 10, sgd(network), lambda total: total)
    # As much as fits: one channel of the largest layer more, and it would be too much.
    assert 0.5 - 64 * 9 / 93_000 < method.figures()["connectivity"] <= 0.5
    return values, masks(method)


def test_the_least_active_channels_of_each_layer_go() -> None:
    values, left = pruned_by("layer")
    shares = [mask.float().mean().item() for mask in left]
    assert max(shares) - min(shares) < 0.05, "of every layer the same share"
    for value, mask in zip(values, left, strict=True):
        assert value[~mask].max() < value[mask].min()


def test_the_least_active_channels_of_the_network_go_but_for_a_tenth_of_a_layer() -> None:
    values, left = pruned_by("network")
    assert [int(mask.sum()) for mask in left[:2]] == [3, 6]
    for value, mask in zip(values, left, strict=True):
        assert value[~mask].max() < value[mask].min()


def test_activity_of_all_ranks_counts() -> None:
    network = small_network()
    method = attached(network, until=0.1)
    there = {len(mask) + 1: 100 * torch.arange(len(mask) + 1.0).double() for mask in masks(method)}
    for sums in there.values():
        sums[-1] = 1
    network(torch.rand(4, 1, 8, 8))
    method.after_epoch(
        0,
        10,
        sgd(network),
        lambda total: total + there[len(total)],
    )
    for mask in masks(method):
        left = mask.nonzero().flatten()
        assert left.tolist() == list(range(len(mask) - len(left), len(mask))), "the other rank says which"


def test_a_channel_that_is_out_is_silent_and_in_the_end_its_weights_are_0() -> None:
    network = small_network()
    method = attached(network, until=0.5)
    train(network, method, epochs=2, of=8)
    assert not method.fixed
    for unit, mask in zip(method._units, masks(method), strict=True):
        assert (unit.norm.weight[~mask] == 0).all()
        assert (unit.norm.bias[~mask] == 0).all()
        assert (unit.layer.weight[~mask] != 0).any(), "it may come back with what it had learned"
    seen: list[torch.Tensor] = []
    network.body[3].register_forward_hook(lambda module, args, o: seen.append(o))
    network(torch.rand(6, 1, 8, 8))
    out = ~masks(method)[1]
    assert out.any()
    assert seen[0].sum() > 0
    assert seen[0][:, :, out].sum() == 0

    train(network, method, epochs=8, of=8)
    assert method.fixed
    figures = method.figures()
    assert figures["connectivity"] <= 0.3
    weights = [layer.weight for layer in weighted_layers(network).values()]
    # The classifier's weights are all there; of the others those of channels that are in.
    assert sum(int((w != 0).sum()) for w in weights) <= 0.3 * sum(w.numel() for w in weights)
    left = sum(int((p != 0).sum()) for p in network.parameters())
    assert left <= figures["parameters"] <= 1.02 * left, "a β that is in may be 0"


def test_a_channel_comes_back_by_the_momentum_of_its_norm() -> None:
    network = small_network()
    method = attached(network, until=1.0, regrow=0.3)
    optimizer = train(network, method, epochs=3, of=10)
    before = masks(method)[1].clone()
    out = (~before).nonzero().flatten()
    norm = method._units[1].norm
    optimizer.state[norm.weight]["momentum_buffer"].zero_()
    optimizer.state[norm.weight]["momentum_buffer"][out[0]] = -1e6
    network(torch.rand(4, 1, 8, 8))
    method.after_epoch(3, 10, optimizer, lambda total: total)
    assert masks(method)[1][out[0]]
    assert norm.weight[out[0]] == 1
    assert (method._units[1].layer.weight[out[0]] != 0).any()


def test_an_epoch_without_examples_changes_nothing() -> None:
    network = small_network()
    method = attached(network)
    optimizer = sgd(network)
    method.after_epoch(0, 10, optimizer, lambda total: total)
    assert all(mask.all() for mask in masks(method))


@pytest.mark.parametrize(
    ("name", "size", "units", "layers"),
    [
        ("spiking_resnet18", 32, 17, 21),
        ("sew_resnet18", 32, 20, 21),  # its shortcuts have neurons of their own
        ("spiking_resnet19", 32, 18, 21),
        ("vgg16", 32, 13, 14),
    ],
)
def test_units_of_the_networks(name: str, size: int, units: int, layers: int) -> None:
    with torch.device("meta"):
        network = build_network(name, 10, image_size=size)
    found = find_units(network)
    assert (len(found), len(weighted_layers(network))) == (units, layers)
    for unit in found:
        assert len(unit.layer.weight) == unit.channels


def test_what_it_cannot_prune_is_refused() -> None:
    with pytest.raises(UsageError, match="this network has none"):
        attached(nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(UsageError, match=r"connectivity=0\.01 cannot be reached; use at least 0\.099"):
        attached(small_network(), connectivity=0.01)


def test_neurons_without_potentials_count_by_their_spikes() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(
        layer.Conv2d(1, 5, 3), layer.BatchNorm2d(5), PSN(2), layer.Flatten(), layer.Linear(180, 2)
    )
    network = SpikingNetwork(nn.Identity(), body, time_steps=2)
    method = attached(network, connectivity=0.95)
    seen: list[torch.Tensor] = []
    body[2].register_forward_hook(lambda module, args, o: seen.append(o))
    network(torch.rand(4, 1, 8, 8))
    assert seen[0].sum() > 0
    assert torch.allclose(method.activity_0[:-1], seen[0].double().sum(dim=(0, 1, 3, 4)))
    assert method.activity_0[-1] == 2 * 4 * 6 * 6
