"""Scores are Eq. 29 and exact norms are Eq. 6, in every layout, for each example by itself."""

from __future__ import annotations

import gc

import pytest
import torch
from spikingjelly.activation_based import layer
from torch import Tensor, nn

from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.snn import build_network
from tests.scoring.networks import (
    LAYERS,
    WAYS,
    SpikingNetwork,
    assert_close,
    batch,
    gradient_norms,
    hint,
    losses,
    scores_by_definition,
)

CHOICES = {"last": ("head",), "all": LAYERS, "two": ("conv2", "fc"), "conv": ("conv1",)}


def chosen(choice: str) -> str | list[str]:
    return choice if choice in ("last", "all") else list(CHOICES[choice])


def score(scorer: SpikeAwareScorer, network: nn.Module, images: Tensor, labels: Tensor, c: Tensor) -> Tensor:
    with scorer:
        (c * losses(network(images), labels)).sum().backward()
    return scorer.scores(c)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("choice", CHOICES)
def test_scores_are_the_bound_by_its_definition(way: str, choice: str) -> None:
    network, (images, labels, c) = SpikingNetwork(way), batch()
    scores = score(SpikeAwareScorer(network, chosen(choice), **hint(way)), network, images, labels, c)
    assert scores.dtype == torch.float32 and scores.shape == (6,)
    assert_close(scores, scores_by_definition(network, images, labels, CHOICES[choice]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("layers", [("head",), ("fc", "head")])
def test_exact_scores_are_the_gradient_norms_by_autograd(way: str, layers: tuple[str, ...]) -> None:
    network, (images, labels, c) = SpikingNetwork(way), batch()
    scores = score(SpikeAwareScorer(network, layers, exact=True, **hint(way)), network, images, labels, c)
    assert_close(scores, gradient_norms(network, images, labels, layers))
    bound = score(SpikeAwareScorer(network, layers, **hint(way)), network, images, labels, c)
    assert (bound >= scores * (1 - 1e-5)).all() and (bound > 1.01 * scores).any()


def test_every_way_of_running_time_gives_the_same_scores() -> None:
    images, labels, c = batch()
    scores = []
    for way in WAYS:
        network = SpikingNetwork(way)
        scores.append(score(SpikeAwareScorer(network, "all", **hint(way)), network, images, labels, c))
    assert_close(scores[1], scores[0])
    assert_close(scores[2], scores[0])


@pytest.mark.parametrize("time_steps", [None, 3])
def test_a_stem_that_is_shown_its_image_once_has_its_score_among_layers_over_time(
    time_steps: int | None,
) -> None:
    torch.manual_seed(0)
    network = build_network("small_cnn", 4, image_size=8, time_steps=3).eval()
    images, labels, c = torch.rand(5, 3, 8, 8), torch.arange(5) % 4, torch.rand(5) + 0.1
    scorer = SpikeAwareScorer(network, "all", time_steps=time_steps)
    scores = score(scorer, network, images, labels, c)
    assert_close(scores, scores_by_definition(network, images, labels, scorer.layers))


def test_a_score_does_not_depend_on_its_weight_or_its_batch() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network, "all")
    scores = score(scorer, network, images, labels, c)
    assert_close(score(scorer, network, images, labels, torch.ones(6)), scores)
    assert_close(score(scorer, network, images, labels, -1e-6 * c), scores)
    assert_close(score(scorer, network, images[3:5], labels[3:5], c[3:5]), scores[3:5])


def test_a_coefficient_of_zero_gives_no_score_and_leaves_the_others_alone() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network)
    expected = score(scorer, network, images, labels, c)
    c[[1, 5]] = 0
    scores = score(scorer, network, images, labels, c)
    assert scores.isnan().tolist() == [False, True, False, False, False, True]
    assert_close(scores[c != 0], expected[c != 0])


def test_a_network_in_double_precision_has_scores_in_single() -> None:
    network, (images, labels, c) = SpikingNetwork().double(), batch()
    scorer = SpikeAwareScorer(network, "all")
    with scorer:
        (c * losses(network(images.double()), labels)).sum().backward()
    scores = scorer.scores(c)
    assert scores.dtype == torch.float32
    assert_close(scores, scores_by_definition(network, images.double(), labels, LAYERS), relative=1e-6)


def test_coefficients_of_any_dtype_do() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network)
    expected = score(scorer, network, images, labels, c)
    scores = score(scorer, network, images, labels, c.double().requires_grad_())
    assert scores.dtype == torch.float32 and not scores.requires_grad
    assert_close(scores, expected)


def test_calls_of_the_network_in_one_with_add_up() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    views = images, images.flip(-1)
    scorer = SpikeAwareScorer(network, "all")
    apart = [score(scorer, network, view, labels, c) for view in views]
    with scorer:
        (c * sum(losses(network(view), labels) for view in views)).sum().backward()
    assert_close(scorer.scores(c), apart[0] + apart[1])
    with scorer:
        for view in views:
            (c * losses(network(view), labels)).sum().backward()
    assert_close(scorer.scores(c), apart[0] + apart[1])


def test_each_micro_batch_of_an_accumulated_gradient_has_its_scores() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network, "all")
    micro = [score(scorer, network, images[i : i + 2], labels[i : i + 2], c[i : i + 2]) for i in (0, 2, 4)]
    accumulated = network.head.weight.grad.clone()
    network.zero_grad()
    assert_close(torch.cat(micro), scores_by_definition(network, images, labels, LAYERS))
    score(scorer, network, images, labels, c)
    torch.testing.assert_close(accumulated, network.head.weight.grad)


def test_scoring_leaves_the_gradients_as_they_are() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    (c * losses(network(images), labels)).sum().backward()
    expected = [weights.grad.clone() for weights in network.parameters()]
    for scorer in (SpikeAwareScorer(network, "all"), SpikeAwareScorer(network, exact=True)):
        network.zero_grad()
        score(scorer, network, images, labels, c)
        assert all(torch.equal(w.grad, g) for w, g in zip(network.parameters(), expected, strict=True))


def test_only_what_is_trained_inside_the_with_counts() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network)
    expected = score(scorer, network, images, labels, c)
    earlier = losses(network(images), labels).sum()
    with scorer:
        pass
    with pytest.raises(RuntimeError, match="interrupted"), scorer:
        (c * losses(network(images), labels)).sum().backward()
        raise RuntimeError("interrupted")
    with pytest.raises(ValueError, match="the scored layers have no gradient"):
        scorer.scores(c)
    with scorer:
        with torch.no_grad():
            network(images)
        (c * losses(network(images), labels)).sum().backward()
        earlier.backward()
    losses(network(images), labels).sum().backward()
    assert_close(scorer.scores(c), expected)


def test_two_scorers_read_the_same_backward() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    bound, exact = SpikeAwareScorer(network, "all"), SpikeAwareScorer(network, exact=True)
    with bound, exact:
        (c * losses(network(images), labels)).sum().backward()
    assert_close(bound.scores(c), scores_by_definition(network, images, labels, LAYERS))
    assert_close(exact.scores(c), gradient_norms(network, images, labels, ("head",)))


def test_a_scorer_that_is_gone_leaves_no_hook() -> None:
    network = SpikingNetwork()
    scorer = SpikeAwareScorer(network, "all")
    assert scorer.layers == LAYERS and network.head._forward_hooks and network._forward_pre_hooks
    del scorer
    gc.collect()
    for module in network.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


TOKENS, BATCH, STEPS = 3, 5, 2
ROWS = {
    "multi-step": (STEPS, BATCH, TOKENS),
    "flattened": (STEPS * BATCH, TOKENS),
    "single-step": (BATCH, TOKENS),
}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("features", [2, 40])  # the gradient is smaller and larger than the inner products
@pytest.mark.parametrize("layout", ROWS)
def test_tokens_of_one_time_step_belong_together(layout: str, features: int, exact: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(features, features)
    o, δ = torch.randn(2, STEPS, BATCH, TOKENS, features)
    c = torch.rand(BATCH) + 0.1
    calls = range(STEPS) if layout == "single-step" else [slice(None)]
    scorer = SpikeAwareScorer(linear, exact=exact, time_steps=STEPS, layout="time", bias=False)
    with scorer:
        for t in calls:
            output = linear(o[t].reshape(*ROWS[layout], features))
            (output * (c[:, None, None] * δ[t]).reshape(output.shape)).sum().backward()
    if exact:
        expected = torch.einsum("tbnk,tbnd->bkd", δ, o).flatten(1).norm(dim=1)
    else:
        expected = (δ.flatten(2).norm(dim=2) * o.flatten(2).norm(dim=2)).sum(0)
    assert_close(scorer.scores(c), expected)


@pytest.mark.parametrize("shape", [(4, 3, 2, 10), (3, 2, 10), (12, 2, 10)])
def test_one_dimensional_convolutions_have_scores(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    convolution = layer.Conv1d(2, 4, 3, step_mode="m") if len(shape) == 4 else nn.Conv1d(2, 4, 3)
    o = torch.randn(shape)
    scorer = SpikeAwareScorer(convolution, time_steps=4, layout="time", bias=False)
    with scorer:
        output = convolution(o)
        δ = torch.randn_like(output)
        (output * δ).sum().backward()
    expected = o.flatten(-2).norm(dim=-1) * δ.flatten(-2).norm(dim=-1)
    assert_close(scorer.scores(torch.ones(3)), expected.reshape(-1, 3).sum(0))


@pytest.mark.parametrize("kind", ["conv", "linear", "flat linear"])
def test_an_output_changed_in_place_has_the_error_it_had_before(kind: str) -> None:
    torch.manual_seed(0)
    module = layer.Conv2d(2, 3, 3, step_mode="m") if kind == "conv" else nn.Linear(6, 7)
    o = torch.rand(20, 6) if kind == "flat linear" else torch.rand(4, 5, 2, 6, 6)
    δ = 2 * (module(o) > 0).float()
    scorer = SpikeAwareScorer(module, time_steps=4, layout="time", bias=False)
    with scorer:
        output = module(o)
        output *= 2
        output.relu_()
        output.sum().backward()
    δ, o = (x.reshape(4, 5, -1).norm(dim=2) for x in (δ, o))
    assert_close(scorer.scores(torch.ones(5)), (δ * o).sum(0))


def test_a_layer_called_by_keyword_has_a_score() -> None:
    linear, x = nn.Linear(4, 9), torch.rand(3, 4)
    scorer = SpikeAwareScorer(linear, bias=False)
    with scorer:
        linear(input=x).sum().backward()
    assert_close(scorer.scores(torch.ones(3)), 3 * x.norm(dim=1))
