"""Which layers are scored, and that each kind has a right score: against autograd, in float64."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm

from sadp_dist.errors import UsageError
from sadp_dist.scoring import SpikeAwareScorer
from tests.scoring.networks import assert_close

B, K = 5, 4


def losses(logits: Tensor) -> Tensor:
    return cross_entropy(logits, torch.arange(len(logits)) % K, reduction="none")


def score(network: nn.Module, x: Tensor, scorer: SpikeAwareScorer | None = None, **options) -> Tensor:
    scorer = scorer or SpikeAwareScorer(network, **options)
    c = torch.linspace(0.5, 2, len(x))
    with scorer:
        (c * losses(network(x))).sum().backward()
    network.zero_grad()
    return scorer.scores(c)


def norms(network: nn.Module, x: Tensor, *names: str) -> Tensor:
    """The norm of the gradient of these parameters, one example at a time."""
    found = []
    parameters = [network.get_parameter(name) for name in names]
    for loss in losses(network(x)):
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        found.append(torch.cat([gradient.flatten() for gradient in gradients]).norm())
    return torch.stack(found)


class Head(nn.Module):
    """A layer whose outputs are pooled to logits by a fixed matrix."""

    def __init__(self, layer: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("mix", torch.randn(layer(x).flatten(1).shape[1], K, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layer(x)).flatten(1) @ self.mix


CONVOLUTIONS = [
    (nn.Conv1d(2, 3, 3, bias=False), (9,), 3),
    (nn.Conv1d(2, 3, 3), (9,), 3),
    (nn.Conv2d(2, 4, 3, stride=2, groups=2), (7, 7), 4),
    (nn.Conv2d(2, 3, 3, dilation=2, stride=2), (9, 9), 9),
    (nn.Conv3d(2, 3, 2), (4, 4, 4), 8),
    (nn.ConvTranspose1d(2, 3, 3), (5,), 3),
    (nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1), (3, 3), 4),
    (nn.ConvTranspose3d(2, 2, 2, stride=2), (2, 2, 2), 1),
]


@pytest.mark.parametrize(("layer", "size", "uses"), CONVOLUTIONS, ids=lambda x: str(x)[:40])
def test_a_convolutions_score_bounds_its_gradient_up_to_the_times_an_input_is_used(layer, size, uses) -> None:
    torch.manual_seed(0)
    x = torch.rand(B, 2, *size, dtype=torch.float64)
    x[0] = 0  # an example without a spike: only its bias has a gradient
    network = Head(layer.double(), x)
    names = [f"layer.{name}" for name, _ in layer.named_parameters()]
    true, found = norms(network, x, *names), score(network, x, layers="all")
    assert (found.double() * uses**0.5 * (1 + 1e-6) >= true).all()
    o, δ = x.flatten(1).norm(dim=1), []
    hook = layer.register_forward_hook(
        lambda module, args, output: output.register_hook(lambda gradient: δ.append(gradient)) and None
    )
    losses(network(x)).sum().backward()
    hook.remove()
    positions = δ[0][0, 0].numel() if layer.bias is not None else 0
    torch.testing.assert_close(
        found.double(), δ[0].flatten(1).norm(dim=1) * (o**2 + positions / uses).sqrt(), rtol=1e-5, atol=0
    )
    assert (found[0] > 0) == (layer.bias is not None)


def test_an_example_without_a_spike_has_the_gradient_of_its_bias() -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Linear(6, K)).double(), torch.rand(B, 6, dtype=torch.float64)
    x[0] = 0
    true = norms(network, x, "0.weight", "0.bias")
    assert_close(score(network, x), true)
    assert_close(score(network, x, exact=True), true)
    published = score(network, x, bias=False)
    assert published[0] == 0
    assert_close(published[1:], norms(network, x, "0.weight")[1:])
    network[0].bias.requires_grad_(False)
    assert_close(score(network, x)[1:], published[1:])


@pytest.mark.parametrize("padding", [None, 2])
def test_an_embedding_has_its_gradients_norm(padding: int | None) -> None:
    torch.manual_seed(0)
    tokens = torch.tensor([[0, 1, 0, 2], [2, 2, 1, 1], [3, 3, 3, 3], [1, 0, 2, 3], [2, 0, 0, 0]])
    network = Head(nn.Embedding(4, 3, padding_idx=padding).double(), tokens)
    true = norms(network, tokens, "layer.weight")
    assert_close(score(network, tokens, exact=True), true)
    assert (score(network, tokens) >= true * (1 - 1e-6)).all()


class Net(nn.Module):
    """A network whose forward is given as a function, with its layers in an order of their own."""

    def __init__(self, run: Callable, **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def lin(inputs: int = 6, outputs: int = 6) -> nn.Linear:
    return nn.Linear(inputs, outputs)


def recurrent(net: Net, x: Tensor) -> Tensor:
    out = torch.zeros(len(x), K, dtype=x.dtype)
    for _ in range(3):
        out = net.head(torch.tanh(net.body(x) + out.repeat(1, 2)[:, :6]))
    return out


ORDERS = {
    "registered first": (lambda n, x: n.head(n.body(x)), ("head",)),
    "unused afterwards": (lambda n, x: (n.head(n.body(x)), n.aux(x))[0], ("head",)),
    "two heads": (lambda n, x: n.head(n.body(x)) + n.aux(n.body(x)), ("head", "aux")),
    "around a layer": (lambda n, x: n.head(n.body(x) + x), ("head",)),
    "fed back": (recurrent, ("head",)),
    "intermediate loss": (lambda n, x: n.head(n.body(x)) + 0.1 * n.body(x)[:, :K], ("head", "body")),
}


@pytest.mark.parametrize("order", ORDERS)
def test_last_is_what_the_loss_reaches_last(order: str) -> None:
    run, expected = ORDERS[order]
    torch.manual_seed(0)
    net, x = Net(run, head=lin(6, K), body=lin(), aux=lin(6, K)), torch.rand(B, 6).double()
    scorer = SpikeAwareScorer(net)
    found = [score(net, x, scorer) for _ in range(2)]
    assert set(scorer.layers) == set(expected)
    named = score(net, x, layers=list(expected))
    for each in found:
        torch.testing.assert_close(each, named)


@pytest.mark.parametrize("exact", [False, True])
def test_the_first_pass_has_all_time_steps_of_the_last_layer(exact: bool) -> None:
    torch.manual_seed(0)
    net, x = Net(recurrent, head=lin(6, K), body=lin()), torch.rand(B, 6).double()
    found = score(net, x, exact=exact)
    true = norms(net, x, "head.weight", "head.bias")
    if exact:
        assert_close(found, true)
    assert (found >= true * (1 - 1e-6)).all()


def attention(net: Net, x: Tensor) -> Tensor:
    h = net.attend(*[x.reshape(len(x), 3, 2)] * 3, need_weights=False)[0]
    return net.head(h.flatten(1))


UNSCORED = {
    "attention": (attention, "all", "attend.in_proj_weight, attend.out_proj.weight"),
    "a functional weight": (lambda n, x: linear(n.body(x), n.head.weight), "last", "head.weight"),
    "a functional weight too": (lambda n, x: linear(n.body(x), n.head.weight), "all", "head.weight"),
    "a recurrent layer": (lambda n, x: n.gru(n.body(x))[0], "last", "gru.weight_ih_l0, gru.weight_hh_l0"),
    "a parameter": (lambda n, x: (n.body(x) @ n.body.weight)[:, :K], "last", "body.weight"),
}


@pytest.mark.parametrize("case", UNSCORED)
def test_weights_that_are_not_scored_are_named_once(case: str) -> None:
    run, layers, named = UNSCORED[case]
    more = {"attend": nn.MultiheadAttention(2, 1, batch_first=True)} if case == "attention" else {}
    more |= {"gru": nn.GRU(6, K)} if case == "a recurrent layer" else {}
    torch.manual_seed(0)
    more |= {} if case == "attention" else {"body": lin()}
    net = Net(run, head=lin(6, K), **more)
    scorer, x = SpikeAwareScorer(net, layers), torch.rand(B, 6).double()
    with pytest.warns(UserWarning, match=rf"does not score {named}: no call") as said:
        score(net, x, scorer)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(net, x, scorer)


def test_attention_before_the_last_layer_is_nothing_to_warn_of() -> None:
    net = Net(attention, head=lin(6, K), attend=nn.MultiheadAttention(2, 1, batch_first=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(net, torch.rand(B, 6).double())


WEIGHTS = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "old weight norm": weight_norm,
    "old spectral norm": spectral_norm,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_computed_weight_has_the_norm_of_its_gradient(kind: str) -> None:
    """Also elsewhere in the network it does no harm."""
    torch.manual_seed(0)
    normed = WEIGHTS[kind](lin(6, K))
    net = Net(lambda n, x: n.head(torch.tanh(n.body(x))), head=normed, body=WEIGHTS[kind](lin())).eval()
    x = torch.rand(B, 6).double()
    scorer = SpikeAwareScorer(net, exact=True)
    found = score(net, x, scorer)
    assert scorer.layers == ("head",)
    true = []
    with parametrize.cached():
        for loss in losses(net(x)):
            gradients = torch.autograd.grad(loss, (net.head.weight, net.head.bias), retain_graph=True)
            true.append(torch.cat([gradient.flatten() for gradient in gradients]).norm())
    assert_close(found, torch.stack(true))


def test_layers_that_share_a_weight_have_one_gradient() -> None:
    torch.manual_seed(0)
    net = Net(lambda n, x: n.head(n.b(torch.tanh(n.a(x)))), a=lin(), b=lin(), head=lin(6, K))
    net.b.weight = net.a.weight
    x = torch.rand(B, 6).double()
    names = ("a.weight", "a.bias", "b.bias")
    assert_close(score(net, x, layers=["a", "b"], exact=True), norms(net, x, *names))
    net.b.bias = net.a.bias
    assert_close(score(net, x, layers=["a", "b"], exact=True), norms(net, x, *names[:2]))


def test_a_weight_of_two_types_of_layers_has_no_exact_norm() -> None:
    net = Net(lambda n, x: n.out(n.words(x).mean(1)), words=nn.Embedding(K, 6), out=lin(6, K))
    net.out.weight = net.words.weight
    with pytest.raises(UsageError, match="words and out share a weight and are of different types"):
        score(net, torch.randint(K, (B, 3)), layers="all", exact=True)


def test_the_last_layer_has_no_exact_norm_if_it_is_a_convolution() -> None:
    net = Net(lambda n, x: n.conv(n.fc(x)[:, None]).mean(2), conv=nn.Conv1d(1, K, 3), fc=lin())
    with pytest.raises(
        UsageError, match="exact=True needs Linear or Embedding layers, but 'conv' has type Conv1d"
    ):
        score(net, torch.rand(B, 6).double(), exact=True)


def folded(net: Net, x: Tensor) -> Tensor:
    """Take [B, T, D] and fold it, with the batch outermost."""
    return net.head(torch.tanh(net.body(x.flatten(0, 1)))).unflatten(0, x.shape[:2]).mean(1)


@pytest.mark.parametrize("exact", [False, True])
def test_rows_with_the_batch_outermost_are_refused_until_that_is_said(exact: bool) -> None:
    torch.manual_seed(0)
    net, x = Net(folded, body=lin(), head=lin(6, K)), torch.rand(B, 3, 6).double()
    for steps in (None, 3):
        with pytest.raises(
            UsageError, match=r"'head' has \[15\] rows for 5 examples, 3 for each, .* layout="
        ):
            score(net, x, exact=exact, time_steps=steps)
    found, true = score(net, x, exact=exact, layout="batch"), norms(net, x, "head.weight", "head.bias")
    assert (found >= true * (1 - 1e-6)).all()
    if exact:
        assert_close(found, true)
    else:  # rows of one example need no order
        torch.testing.assert_close(score(net, x[:1]), found[:1])


def test_an_order_that_a_batch_told_holds_for_a_batch_that_does_not() -> None:
    """As many examples as time steps: the shapes do not say which comes first."""

    def run(net: Net, x: Tensor) -> Tensor:  # [T, B, D]
        return net.head(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(0)

    torch.manual_seed(0)
    net, x = Net(run, head=lin(6, K)), torch.rand(3, B, 6).double()
    scorer, found = SpikeAwareScorer(net, exact=True), []
    for batch in (x, x[:, :3]):
        c = torch.ones(batch.shape[1])
        with scorer:
            losses(net(batch)).sum().backward()
        found.append(scorer.scores(c))
    torch.testing.assert_close(found[1], found[0][:3])


class SeqToANNContainer(nn.Sequential):
    """SpikingJelly's container by its name: [T, B, ...] becomes [T * B, ...]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def test_a_container_for_time_first_needs_no_layout() -> None:
    torch.manual_seed(0)
    net = Net(lambda n, x: n.body(torch.stack([x, 2 * x])).mean(0), body=SeqToANNContainer(lin(6, K)))
    x = torch.rand(B, 6).double()
    assert_close(score(net, x, exact=True), norms(net, x, "body.0.weight", "body.0.bias"))


def closure_of(net: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        net.zero_grad()
        loss = losses(net(x)).sum()
        loss.backward()
        return loss

    return closure


def test_the_scores_of_a_closure_are_of_its_last_pass() -> None:
    torch.manual_seed(0)
    net, x = (
        Net(lambda n, x: n.head(torch.tanh(n.body(x))), body=lin(), head=lin(6, K)),
        torch.rand(B, 6).double(),
    )
    scorer, weights = SpikeAwareScorer(net, exact=True), []
    net.register_forward_pre_hook(lambda *_: weights.append([p.detach().clone() for p in net.parameters()]))
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=4)
    with scorer:
        optimizer.step(closure_of(net, x))
    assert len(weights) > 2
    for parameter, value in zip(net.parameters(), list(weights[-1]), strict=True):
        parameter.data = value
    assert_close(scorer.scores(torch.ones(B)), norms(net, x, "head.weight", "head.bias"))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("set_to_none", [False, True])
def test_the_scores_of_sam_are_of_its_second_pass(set_to_none: bool, whole: bool) -> None:
    def run(net: Net, x: Tensor) -> Tensor:
        return net.head(torch.tanh(net.body(x)))

    torch.manual_seed(0)
    net, x = Net(run, body=lin(), head=lin(6, K)), torch.rand(B, 6).double()
    forward = net if whole else lambda x: run(net, x)  # or its parts are called by themselves
    scorer = SpikeAwareScorer(net, "all", exact=True)
    with scorer:
        losses(forward(x)).sum().backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += 0.5 * parameter.grad
        net.zero_grad(set_to_none)
        losses(forward(x)).sum().backward()
    names = [name for name, _ in net.named_parameters()]
    assert_close(scorer.scores(torch.ones(B)), norms(net, x, *names))


def test_what_adds_up_in_the_gradient_adds_up_in_the_scores() -> None:
    torch.manual_seed(0)
    net, x = (
        Net(lambda n, x: n.head(torch.tanh(n.body(x))), body=lin(), head=lin(6, K)),
        torch.rand(3, B, 6).double(),
    )
    scorer, c = SpikeAwareScorer(net), torch.ones(B)
    apart = torch.stack([score(net, step) for step in x]).sum(0)
    for _ in range(2):
        with scorer:
            for step in x:  # a backward pass after each time step
                losses(net(step)).sum().backward()
        net.zero_grad()
        torch.testing.assert_close(scorer.scores(c), apart)
    with scorer:
        loss = losses(net(x[0])).sum()
        loss.backward(retain_graph=True)
        loss.backward()
    torch.testing.assert_close(scorer.scores(c), 2 * score(net, x[0]))
