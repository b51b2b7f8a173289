"""Quantisation-aware training: the levels, the gradient, and what trains and scores with it."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from sadp_dist.errors import UsageError
from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.snn import build_network
from sadp_dist.snn.compression import CompressionConfig, build_compression
from sadp_dist.snn.compression.export import plain_state
from sadp_dist.snn.compression.quantisation import Quantised, rescaled, symmetric
from sadp_dist.snn.layers import weight_parameter, weighted_layers

weights = arrays("int64", (3, 7), elements=st.integers(-4000, 4000)).map(lambda w: torch.from_numpy(w) / 1000)
bits = st.integers(2, 8)


@given(weights, bits)
def test_rescaled_levels_are_the_nearest_of_all_that_lie_within_the_mean(w: torch.Tensor, b: int) -> None:
    quantised = rescaled(w, b)
    assert set(quantised.level.unique().tolist()) <= set(range(2**b))
    for row, found in zip(w.double(), quantised.weight().double(), strict=True):
        γ = row.abs().mean()
        levels = γ * torch.linspace(-1, 1, 2**b, dtype=torch.float64)
        nearest = (row.clamp(-γ, γ)[:, None] - levels).abs().amin(dim=1)
        assert torch.allclose((found - row.clamp(-γ, γ)).abs(), nearest, atol=1e-6)


@given(weights, bits)
def test_symmetric_levels_reach_to_the_largest_and_keep_zeros(w: torch.Tensor, b: int) -> None:
    w = torch.cat([w, torch.zeros(3, 1)], dim=1)
    quantised = symmetric(w, b)
    assert set(quantised.level.unique().tolist()) <= set(range(2**b - 1))
    q = quantised.weight()
    assert (q[w == 0] == 0).all()
    largest = w.abs().amax(dim=1, keepdim=True)
    assert torch.allclose(q.abs().amax(dim=1, keepdim=True), largest, rtol=1e-5, atol=1e-29)
    assert ((q - w).abs() <= largest / (2 ** (b - 1) - 1) / 2 * 1.0001).all()


def test_weights_that_are_all_0_are_no_trouble() -> None:
    for levels in (rescaled, symmetric):
        assert levels(torch.zeros(2, 3), 8).weight().abs().max() < 1e-20


def test_the_gradient_is_handed_straight_through() -> None:
    w = torch.tensor([[0.1, -3.0, 0.4, 2.0]], requires_grad=True)
    (Quantised(rescaled, 4)(w) * torch.arange(4.0)).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [[0, 1, 2, 3]]


def made(b: int = 4, name: str = "small_cnn") -> nn.Module:
    torch.manual_seed(0)
    network = build_network(name, 4, image_size=8, channels=1, time_steps=2)
    build_compression(CompressionConfig(method="qat", bits=b)).attach(network, seed=0)
    return network


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(12, 1, 8, 8, generator=generator), torch.randint(4, (12,), generator=generator)


def plain(network: nn.Module) -> nn.Module:
    """The network without quantisation whose weights are the quantised ones."""
    other = build_network("small_cnn", 4, image_size=8, channels=1, time_steps=2)
    other.load_state_dict(plain_state(network))
    return other


def losses(network: nn.Module) -> torch.Tensor:
    images, labels = batch()
    return nn.functional.cross_entropy(network(images).mean(dim=0), labels, reduction="none")


def test_it_computes_with_the_quantised_weights_and_trains_those_behind_them() -> None:
    network = made()
    other = plain(network)
    assert torch.equal(network(batch()[0]), other(batch()[0]))
    for each in (network, other):
        losses(each).sum().backward()
    pairs = zip(weighted_layers(network).values(), weighted_layers(other).values(), strict=True)
    for ours, theirs in pairs:
        assert torch.equal(weight_parameter(ours).grad, theirs.weight.grad)


def test_only_weights_are_quantised_and_the_outer_layers_with_8_bits() -> None:
    network = made(b=2)
    levels = [len(layer.weight[0].unique()) for layer in weighted_layers(network).values()]
    assert max(levels[1:-1]) <= 4
    assert min(levels[0], levels[-1]) > 4
    assert [name for name, p in network.named_parameters() if name.endswith(".original")] == [
        f"{name}.parametrizations.weight.original" for name in weighted_layers(network)
    ]


@pytest.mark.parametrize("build", [torch.optim.SGD, torch.optim.AdamW])
def test_it_learns(build) -> None:
    network = made(b=2)
    optimizer = build(network.parameters(), lr=0.01)
    first = losses(network).mean().item()
    for _ in range(15):
        losses(network).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses(network).mean().item() < 0.7 * first


def test_scores_are_those_of_the_quantised_network() -> None:
    network = made()
    other = plain(network)
    with torch.no_grad():  # where a computed weight seems to need no gradient
        scorer = SpikeAwareScorer(network, layers="all")
    expected = SpikeAwareScorer(other, layers="all")
    assert scorer.layers == expected.layers == tuple(weighted_layers(network))
    coefficients = torch.rand(12, generator=torch.Generator().manual_seed(1))
    for each, of in ((scorer, network), (expected, other)):
        with each:
            (coefficients * losses(of)).sum().backward()
    assert torch.equal(scorer.scores(coefficients), expected.scores(coefficients))


def test_a_frozen_layer_is_neither_quantised_nor_scored() -> None:
    torch.manual_seed(0)
    network = build_network("small_cnn", 4, image_size=8, channels=1, time_steps=2)
    network.body[1].weight.requires_grad_(False)
    build_compression(CompressionConfig(method="qat")).attach(network, seed=0)
    assert "body.1" not in weighted_layers(network)
    assert "body.1" not in SpikeAwareScorer(network, layers="all").layers
    weight_parameter(network.body[4]).requires_grad_(False)
    assert "body.4" not in SpikeAwareScorer(network, layers="all").layers


@pytest.mark.parametrize(
    "options",
    [
        {"method": "qat"},
        {"method": "sparse-structure", "every": 1, "until": 1.0},
        {"method": "activity-pruning", "until": 1.0},
    ],
    ids=lambda options: options["method"],
)
def test_it_compiles_and_runs_in_mixed_precision(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    network = build_network("small_cnn", 4, image_size=8, channels=1, time_steps=2)
    compression = build_compression(CompressionConfig(**options))  # type: ignore[arg-type]
    compression.attach(network, seed=0)
    eager, of_eager = copy.deepcopy(network.state_dict()), losses(network)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(losses(network), of_eager, atol=0.3)
    network.load_state_dict(eager)
    compiled = torch.compile(network, backend="aot_eager")
    assert torch.allclose(losses(compiled), of_eager, atol=1e-5)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for epoch in range(2):
        losses(compiled).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        compression.after_step(optimizer)
        compression.after_epoch(epoch, 4, optimizer, lambda total: total)
    if options["method"] != "qat":
        assert compression.figures()["connectivity"] < 0.75
    assert torch.allclose(losses(compiled), losses(network), atol=1e-5)


def test_figures() -> None:
    figures = build_compression(CompressionConfig(method="qat", bits=4))
    figures.attach(build_network("small_cnn", 10, image_size=8, channels=1), seed=0)
    outer, hidden, rest = 32 * 9 + 10 * 128, 64 * 32 * 9 + 128 * 64 * 9, 2 * (32 + 64 + 128) + 10
    assert figures.figures() == {
        "weight_bits": 4,
        "parameters": outer + hidden + rest,
        "megabytes": pytest.approx((outer + hidden / 2 + 4 * rest) / 1e6),
    }


def test_a_network_without_layers_is_refused() -> None:
    with pytest.raises(UsageError, match="needs trainable Linear or Conv layers"):
        build_compression(CompressionConfig(method="qat")).attach(nn.Sequential(nn.ReLU()), seed=0)
