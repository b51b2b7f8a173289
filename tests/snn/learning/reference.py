"""Learning rules written out in torch alone: what those of the package are tested against."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import layer
from torch import Tensor, nn

from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.snn import LearningConfig, NeuronConfig
from sadp_dist.snn.layers import weighted_layers
from sadp_dist.snn.learning import LearningContext, LearningRule, Passes, build_learning_rule
from sadp_dist.snn.models import SpikingNetwork
from sadp_dist.snn.models.features import RecurrentNeurons

T, B, F_IN, D, K = 6, 5, 7, 9, 4
DECAY = 0.6


def ψ(x: Tensor) -> Tensor:
    """The derivative of SpikingJelly's ATan surrogate, α = 2."""
    return 1 / (1 + (math.pi * x).square())


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ψ(*ctx.saved_tensors)


def dense(reset: str = "subtract", recurrent: bool = False, hidden: int = 2) -> SpikingNetwork:
    """Layers of `D` neurons without batch norm, float64."""
    torch.manual_seed(0)
    neuron = NeuronConfig(decay=DECAY, threshold=0.5, reset=reset)

    def neurons() -> nn.Module:
        return RecurrentNeurons(D, neuron.build()) if recurrent else neuron.build()

    body: list[nn.Module] = [neurons()]
    for _ in range(hidden - 1):
        body += [layer.Linear(D, D), neurons()]
    body.append(layer.Linear(D, K))
    return SpikingNetwork(layer.Linear(F_IN, D), nn.Sequential(*body), T).double()


def sequences() -> tuple[Tensor, Tensor, Tensor]:
    """Features [T, B, F], labels and coefficients, one of which is 0."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(T, B, F_IN, generator=generator, dtype=torch.float64) * 2 - 0.5
    labels = torch.randint(K, (B,), generator=generator)
    c = torch.rand(B, generator=generator, dtype=torch.float64)
    c[2] = 0
    return x, labels, c


def ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy over time steps, (B,)."""
    losses = [F.cross_entropy(each, labels, reduction="none") for each in logits]
    return torch.stack(losses).mean(0)


def rule_of(network: SpikingNetwork, example: Tensor, **config) -> LearningRule:
    setting = LearningContext(network, example, T, K, DECAY, seed=3)
    return build_learning_rule(LearningConfig(**config), setting).double()


def learn(network: SpikingNetwork, rule: LearningRule, inputs, labels, c, loss=ce, key=(0, 0)):
    """Logits, losses and gradients by name of one micro-batch."""
    network.zero_grad()
    passes = Passes(network, loss, Tensor.backward, lambda: torch.autocast("cpu", enabled=False))
    logits, losses = rule.learn(inputs, labels, c, passes, key)
    return logits, losses, gradients(network)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


Terms = dict[str, list[tuple[Tensor, Tensor]]]
"""Of each weight, for every time step the errors c_i δ_i [B, out] and what it learns from [B, in]."""


def sums_of_outer_products(terms: Terms) -> dict[str, Tensor]:
    """Gradients: Σ_t Σ_i δ_i[t] o_i[t]ᵀ, example by example."""
    return {
        name: sum(torch.outer(d, o) for δ, inputs in each for d, o in zip(δ, inputs, strict=True))
        for name, each in terms.items()
    }


def assert_scores(network: SpikingNetwork, rule: LearningRule, batch, terms: Terms) -> None:
    """The scorer's bound G_i (Eq. 29), and the exact norm, are those of a rule's own errors and inputs."""
    c = batch[2]
    for layers in ("last", "all"):
        chosen = list(terms.values())[-1:] if layers == "last" else list(terms.values())
        bound = sum(δ.norm(dim=1) * o.norm(dim=1) for each in chosen for δ, o in each) / c
        outer = [sum(torch.einsum("bi,bj->bij", δ, o) for δ, o in each) for each in chosen]
        exact = sum(each.square().sum((1, 2)) for each in outer).sqrt() / c
        # A rule that cuts the graph has several layers that its losses reach last; training names the last.
        named = layers == "last" and not rule.whole
        scored = list(weighted_layers(network))[-1:] if named else layers
        for wanted, is_exact in ((bound, False), (exact, True)):
            scorer = SpikeAwareScorer(network, scored, is_exact, rule.chunk, bias=False)
            with scorer:
                learn(network, rule, *batch)
            torch.testing.assert_close(
                scorer.scores(c), torch.where(c == 0, torch.nan, wanted).float(), equal_nan=True
            )


def unrolled(network: SpikingNetwork, x: Tensor, cuts: set[int], reset: str = "subtract"):
    """Logits [T, B, K] in one graph, in which potentials are detached before the time steps in `cuts`.

    Args:
        network: from `dense`, without recurrent connections.
        x: [T, B, F].
    """
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    v = [torch.zeros(B, D, dtype=x.dtype) for _ in linear[:-1]]
    logits = []
    for t, s in enumerate(x):
        if t in cuts:
            v = [each.detach() for each in v]
        for number, synapses in enumerate(linear[:-1]):
            u = DECAY * v[number] + F.linear(s, synapses.weight, synapses.bias)
            s = Spike.apply(u - 0.5)
            v[number] = u - 0.5 * s if reset == "subtract" else u * (1 - s)
        logits.append(F.linear(s, linear[-1].weight, linear[-1].bias))
    return torch.stack(logits)
