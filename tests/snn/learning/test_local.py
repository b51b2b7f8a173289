"""DECOLLE and ELL: each layer's gradient is that of its own loss, and none crosses a layer."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sadp_dist.snn import LearningConfig, build_learning_rule, build_network
from sadp_dist.snn.learning import LearningContext
from tests.snn.learning.reference import (
    DECAY,
    B,
    D,
    Spike,
    T,
    Terms,
    assert_scores,
    ce,
    dense,
    gradients,
    learn,
    rule_of,
    sequences,
    sums_of_outer_products,
    ψ,
)


def local_terms(network, rule, x, labels, c) -> Terms:
    """δ[t] of each layer's own loss and what its weights learn from, by the layer's own equations."""
    names = {m: f"{name}.weight" for name, m in network.named_modules()}
    *hidden, readout = [m for m in network.modules() if isinstance(m, nn.Linear)]
    traced = rule.traces is not None
    terms: Terms = {names[m]: [] for m in (*hidden, readout)}
    v = [torch.zeros(B, D).double() for _ in hidden]
    P = [torch.zeros(B, m.in_features).double() for m in hidden]
    for t in range(T):
        s = x[t]
        for j, synapses in enumerate(hidden):
            P[j] = DECAY * P[j] + s if traced else s
            u = (DECAY * v[j] + synapses(s)).detach().requires_grad_()
            z = Spike.apply(u - 0.5)
            loss = (c * F.cross_entropy(rule.classifiers[j].linear(z), labels, reduction="none")).sum() / T
            (δ,) = torch.autograd.grad(loss, u)
            terms[names[synapses]].append((δ, P[j]))
            s, v[j] = z.detach(), (u - 0.5 * z).detach()
        logits = readout(s).detach().requires_grad_()
        loss = (c * F.cross_entropy(logits, labels, reduction="none")).sum() / T
        (error,) = torch.autograd.grad(loss, logits)
        terms[names[readout]].append((error, s))
    return terms


@pytest.mark.parametrize("name", ["decolle", "ell"])
def test_gradients_are_those_of_each_layers_own_loss(name):
    network, (x, labels, c) = dense(hidden=3), sequences()
    rule = rule_of(network, x[:, :1], rule=name)
    terms = local_terms(network, rule, x, labels, c)
    logits, losses, found = learn(network, rule, x, labels, c)
    for layer, gradient in sums_of_outer_products(terms).items():
        assert gradient.abs().sum() > 0
        torch.testing.assert_close(found[layer], gradient, msg=layer)
    with torch.no_grad():
        torch.testing.assert_close(logits, network(x))
    torch.testing.assert_close(losses, ce(logits, labels))  # what is reported is the network's own output
    assert_scores(network, rule, (x, labels, c), terms)


@pytest.mark.parametrize("name", ["decolle", "ell"])
@pytest.mark.parametrize("architecture", ["small_cnn", "spiking_resnet18"])
def test_no_gradient_crosses_a_layer(name, architecture):
    """What lies above a layer of neurons does not change the gradients below it."""
    torch.manual_seed(0)
    network = build_network(architecture, 5, image_size=8, time_steps=2)
    images, labels, c = torch.rand(4, 3, 8, 8), torch.arange(4), torch.ones(4)
    rule = build_learning_rule(LearningConfig(rule=name), LearningContext(network, images[:1], 2, 5, 0.1, 0))
    layers = {name: m for name, m in network.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}
    assert len(rule.classifiers) > 2
    *_, before = learn(network, rule, images, labels, c)
    top, middle = list(layers)[-1], list(layers)[len(layers) // 2]
    for name_of_one in (top, middle):
        with torch.no_grad():
            kept = layers[name_of_one].weight.clone()
            layers[name_of_one].weight.mul_(-3)
        *_, after = learn(network, rule, images, labels, c)
        below = list(before)[: list(before).index(f"{name_of_one}.weight")]
        assert below
        for parameter in below:
            torch.testing.assert_close(after[parameter], before[parameter], msg=parameter)
        assert not torch.allclose(after[f"{top}.weight"], before[f"{top}.weight"])
        with torch.no_grad():
            layers[name_of_one].weight.copy_(kept)


def test_classifiers_are_trained_in_ell_and_stay_in_decolle():
    network, (x, labels, c) = dense(), sequences()
    fixed, trained = (rule_of(network, x[:, :1], rule=name) for name in ("decolle", "ell"))
    learn(network, fixed, x, labels, c)
    assert not gradients(fixed)
    assert not any(p.requires_grad for p in fixed.parameters())
    learn(network, trained, x, labels, c)
    assert len(gradients(trained)) == 4  # two classifiers, weight and bias
    assert all(gradient.abs().sum() > 0 for gradient in gradients(trained).values())


def test_the_surrogate_of_the_reference_is_spikingjellys():
    from spikingjelly.activation_based.surrogate import ATan

    x = torch.linspace(-2, 2, 9, dtype=torch.float64).requires_grad_()
    ATan()(x).sum().backward()
    torch.testing.assert_close(x.grad, ψ(x.detach()))
