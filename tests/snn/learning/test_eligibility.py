"""OTTT against SpikingJelly's, and e-prop against its eligibility traces, written out."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

from sadp_dist.errors import UsageError
from sadp_dist.snn import LearningConfig, NeuronConfig, build_network
from sadp_dist.snn.learning import LearningContext, build_learning_rule
from tests.snn.learning.reference import (
    DECAY,
    B,
    D,
    K,
    T,
    Terms,
    assert_scores,
    ce,
    dense,
    learn,
    rule_of,
    sequences,
    sums_of_outer_products,
    ψ,
)


def test_ottt_has_the_gradients_of_spikingjellys_online_training():
    network, (x, labels, c) = dense(), sequences()
    rule = rule_of(network, x[:, :1], rule="ottt")
    logits, losses, found = learn(network, rule, x, labels, c)

    weights = [m for m in network.modules() if isinstance(m, nn.Linear)]
    modules: list[nn.Module] = []
    for linear in weights:
        copy = layer.Linear(linear.in_features, linear.out_features).double()
        copy.load_state_dict(linear.state_dict())
        modules += [copy, neuron.OTTTLIFNode(1 / (1 - DECAY), False, 0.5, None, surrogate.ATan(), True, "s")]
    peer = layer.OTTTSequential(*modules[:-1]).train()
    for t in range(T):
        loss = (c * nn.functional.cross_entropy(peer(x[t]), labels, reduction="none")).sum() / T
        loss.backward()
    functional.reset_net(peer)
    wanted = [m for m in peer if isinstance(m, nn.Linear)]
    for ours, theirs in zip(weights, wanted, strict=True):
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
        torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)
    assert found
    with torch.no_grad():
        torch.testing.assert_close(logits, network(x))
    torch.testing.assert_close(losses, ce(logits, labels))


@torch.no_grad()
def eligibility_by_definition(network, x, labels, c, feedback) -> Terms:
    """δ_j[t] = L_j[t] ψ_j[t] and the trace ε_i[t] of each layer and time step, with no autograd at all.

    Args:
        network: hidden layers of recurrent neurons.
        x: [T, B, F].
        labels: (B,).
        c: (B,).
        feedback: for each hidden layer B_l [K, D], or None for the symmetric one.
    """
    names = {m: f"{name}.weight" for name, m in network.named_modules()}
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    *hidden, readout = linear  # in the order of registration: inputs, recurrent; inputs, recurrent; ...
    W_in, W_rec = hidden[::2], hidden[1::2]
    layers = range(len(W_in))
    v, z, ε_rec = torch.zeros(3, len(layers), B, D, dtype=torch.float64)
    ε_in = [torch.zeros(B, W.in_features).double() for W in W_in]
    terms: Terms = {names[m]: [] for m in linear}
    for t in range(T):
        s, ψs = x[t], []
        for j in layers:
            ε_in[j] = DECAY * ε_in[j] + s
            ε_rec[j] = DECAY * ε_rec[j] + z[j]  # of the spikes one step before
            u = DECAY * v[j] + W_in[j](s) + W_rec[j](z[j])
            z[j] = (u >= 0.5).double()
            v[j] = u - 0.5 * z[j]
            ψs.append(ψ(u - 0.5))
            s = z[j].clone()
        π = torch.softmax(readout(s), 1)
        error = c[:, None] * (π - nn.functional.one_hot(labels, K)) / T
        terms[names[readout]].append((error, s))
        L = error @ readout.weight
        for j in reversed(layers):
            δ = (L if feedback is None else error @ feedback[j]) * ψs[j]
            terms[names[W_in[j]]].append((δ, ε_in[j]))
            terms[names[W_rec[j]]].append((δ, ε_rec[j].clone()))
            L = δ @ W_in[j].weight
    return terms


@pytest.mark.parametrize("feedback", ["symmetric", "random"])
def test_the_gradient_of_e_prop_is_the_sum_of_learning_signals_times_eligibility(feedback):
    network, (x, labels, c) = dense(recurrent=True, hidden=3), sequences()
    rule = rule_of(network, x[:, :1], rule="eprop", feedback=feedback)
    B_l = [rule.get_buffer(f"feedback_{j}") for j in range(3)] if feedback == "random" else None
    terms = eligibility_by_definition(network, x, labels, c, B_l)
    logits, _, found = learn(network, rule, x, labels, c)
    assert set(terms) == {name for name in found if name.endswith("weight")}
    for name, gradient in sums_of_outer_products(terms).items():
        assert gradient.abs().sum() > 0
        torch.testing.assert_close(found[name], gradient, msg=name)
    assert_scores(network, rule, (x, labels, c), terms)
    with torch.no_grad():
        torch.testing.assert_close(logits, network(x))


def test_a_network_with_traces_is_as_before_outside_of_learning():
    network, (x, labels, c) = dense(), sequences()
    before = network(x)
    rule = rule_of(network, x[:, :1], rule="ottt")
    learn(network, rule, x, labels, c)
    torch.testing.assert_close(network(x), before)
    assert set(network.state_dict()) == set(dense().state_dict())


def test_e_prop_takes_no_batch_norm():
    plain = build_network("recurrent_snn_plain", 4, image_size=1, channels=7, time_steps=3)
    normed = build_network("recurrent_snn", 4, image_size=1, channels=7, time_steps=3)
    example, config = torch.zeros(3, 1, 7), LearningConfig(rule="eprop")
    build_learning_rule(config, LearningContext(plain, example, 3, 4, 0.1, 0))
    with pytest.raises(UsageError, match="but stem.1 is batch norm; use network.name=recurrent_snn_plain"):
        build_learning_rule(config, LearningContext(normed, example, 3, 4, 0.1, 0))


def test_rules_that_go_step_by_step_refuse_neurons_that_do_not():
    psn = NeuronConfig(kind="psn")
    network = build_network("small_cnn", 4, image_size=8, time_steps=3, neuron=psn)
    for rule in ("sltt", "ottt", "eprop", "decolle", "ell"):
        with pytest.raises(
            UsageError, match=f"learning.rule={rule} needs single time steps, but PSN .* all at once"
        ):
            build_learning_rule(
                LearningConfig(rule=rule), LearningContext(network, torch.zeros(1, 3, 8, 8), 3, 4, 0.1, 0)
            )
