"""BPTT, TBPTT and SLTT against one graph over time with its temporal terms cut; memory."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import functional
from torch import nn

from sadp_dist.errors import UsageError
from sadp_dist.snn import LearningConfig, build_learning_rule, build_network
from sadp_dist.snn.learning import LearningContext, Passes
from sadp_dist.snn.learning.memory import BytesKept
from tests.snn.learning.reference import (
    DECAY,
    B,
    T,
    Terms,
    assert_scores,
    ce,
    dense,
    gradients,
    learn,
    rule_of,
    sequences,
    unrolled,
)


def expected(network, x, labels, c, cuts, reset="subtract", only=None):
    """Gradients of Σ c ℓ, or of the time steps in `only` alone."""
    network.zero_grad()
    logits = unrolled(network, x, cuts, reset)
    if only is None:
        (c * ce(logits, labels)).sum().backward()
    else:
        sum((c * ce(logits[t : t + 1], labels)).sum() / T for t in only).backward()
    return logits.detach(), gradients(network)


def close(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], msg=name)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize(
    "config, cuts",
    [
        ({"rule": "bptt"}, set()),
        ({"rule": "tbptt", "steps": 2}, {2, 4}),
        ({"rule": "tbptt", "steps": 3}, {3}),
        ({"rule": "tbptt", "steps": 1}, set(range(T))),
        ({"rule": "sltt"}, set(range(T))),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_the_gradient_is_that_of_bptt_with_the_temporal_terms_cut(config, cuts, reset):
    network, (x, labels, c) = dense(reset), sequences()
    rule = rule_of(network, x[:, :1], **config)
    logits, losses, found = learn(network, rule, x, labels, c)
    wanted_logits, wanted = expected(network, x, labels, c, cuts, reset)
    torch.testing.assert_close(logits, wanted_logits)
    torch.testing.assert_close(losses, ce(wanted_logits, labels))
    close(found, wanted)
    assert not logits.requires_grad
    assert not losses.requires_grad


def test_the_cut_makes_a_difference():
    network, (x, labels, c) = dense(), sequences()
    whole, cut = (expected(network, x, labels, c, cuts)[1] for cuts in (set(), set(range(T))))
    first, *_, last = (name for name in whole if name.endswith("weight"))
    assert (whole[first] - cut[first]).norm() > 0.05 * whole[first].norm()
    torch.testing.assert_close(whole[last], cut[last])  # a classifier has no memory


def test_sltt_k_goes_back_at_k_steps_that_its_key_names():
    network, (x, labels, c) = dense(), sequences()
    rule = rule_of(network, x[:, :1], rule="sltt", backward_steps=2)
    seen = set()
    for batch in range(12):
        key = (1, batch)
        required = rule.backward_chunks(T, key)
        assert len(required) == 2
        assert required == rule.backward_chunks(T, key)
        assert required <= set(range(T))
        seen.add(frozenset(required))
    assert len(seen) > 5
    _, losses, found = learn(network, rule, x, labels, c, key=(1, 0))
    logits, wanted = expected(network, x, labels, c, set(range(T)), only=rule.backward_chunks(T, (1, 0)))
    close(found, wanted)
    torch.testing.assert_close(losses, ce(logits, labels))  # the loss is of all steps


def test_of_an_image_the_stem_is_computed_once():
    network = build_network("small_cnn", 10, image_size=8, time_steps=4).double().eval()
    images, labels, c = torch.rand(B, 3, 8, 8).double(), torch.arange(B), torch.rand(B).double()
    calls = []
    network.stem.register_forward_hook(lambda *_: calls.append(1))
    rule = build_learning_rule(
        LearningConfig(rule="sltt"), LearningContext(network, images[:1], 4, 10, 0.1, 0)
    )
    logits, _, found = learn(network, rule, images, labels, c)
    assert len(calls) == 1
    sequence = images.expand(4, *images.shape)  # the same as frames, for which it is computed at each step
    again, _, wanted = learn(network, rule, sequence, labels, c)
    assert len(calls) == 5
    torch.testing.assert_close(logits, again)
    close(found, wanted)
    with torch.no_grad():
        torch.testing.assert_close(logits, network(images))


@pytest.mark.parametrize("name", ["sltt", "ottt"])
def test_scores_are_of_the_errors_and_spikes_that_the_rule_uses(name):
    """Errors stay within a time step; OTTT's weights learn from traces, and SLTT's from spikes."""
    network, (x, labels, c) = dense(), sequences()
    rule = rule_of(network, x[:, :1], rule=name)
    linear = {f"{n}.weight": m for n, m in network.named_modules() if isinstance(m, nn.Linear)}
    seen: dict[str, list[torch.Tensor]] = {weight: [] for weight in linear}
    outputs: list[tuple[str, torch.Tensor]] = []
    for weight, m in linear.items():

        def keep(m, inputs, output, weight=weight):
            seen[weight].append(inputs[0].detach()[0])
            output.retain_grad()
            outputs.append((weight, output))

        m.register_forward_hook(keep)
    terms: Terms = {weight: [] for weight in linear}
    functional.reset_net(network)
    for t in range(T):  # a graph for each time step: what is left of BPTT without its temporal terms
        logits = network.body(network.stem(x[t : t + 1]))
        (c * ce(logits, labels)).sum().div(T).backward()
        functional.detach_net(network)
    functional.reset_net(network)
    traces = {weight: [inputs[0]] for weight, inputs in seen.items()}
    for weight, inputs in seen.items():
        for s in inputs[1:]:
            traces[weight].append(DECAY * traces[weight][-1] + s)
    learns_from = {
        weight: traces[weight] if name == "ottt" and weight != "stem.weight" else seen[weight]
        for weight in linear
    }
    for weight, output in outputs:
        terms[weight].append((output.grad[0], learns_from[weight][len(terms[weight])]))
    for m in linear.values():
        m._forward_hooks.popitem()
    assert_scores(network, rule, (x, labels, c), terms)


def most_bytes_kept(rule_config, time_steps):
    """The most bytes that autograd held at once for a backward pass of a batch."""
    network = build_network("small_cnn", 10, image_size=16, time_steps=time_steps)
    images, labels, c = torch.rand(8, 3, 16, 16), torch.arange(8), torch.ones(8)
    rule = build_learning_rule(rule_config, LearningContext(network, images[:1], time_steps, 10, 0.1, 0))
    passes = Passes(network, ce, torch.Tensor.backward, lambda: torch.autocast("cpu", enabled=False))
    with BytesKept() as kept:
        rule.learn(images, labels, c, passes, (0, 0))
    return kept.most


def test_what_is_kept_is_counted_once_and_no_longer_than_it_is_kept():
    x = torch.ones(100, requires_grad=True)
    with BytesKept() as kept:
        y = x.exp()  # keeps its result
        z = y * y  # keeps that twice
        assert kept.most == 400
        z.sum().backward()
        torch.testing.assert_close(x.grad, 2 * z.detach())
        del y, z
        x.exp()
        x.exp()  # each is gone before the next
        assert kept.most == 400
        both = x.exp(), x.exp()
        assert kept.most == 800
    assert len(both) == 2


def test_memory_does_not_grow_with_the_number_of_time_steps():
    bptt = {steps: most_bytes_kept(LearningConfig(), steps) for steps in (2, 6, 20)}
    for rule in ("sltt", "ottt", "decolle", "ell"):
        kept = {steps: most_bytes_kept(LearningConfig(rule=rule), steps) for steps in (2, 6, 20)}
        assert kept[20] <= 1.01 * kept[2], (rule, kept)
    assert bptt[20] > 5 * bptt[2]
    halves = most_bytes_kept(LearningConfig(rule="tbptt", steps=2), 20)
    assert halves == pytest.approx(bptt[2], rel=0.3)


@pytest.mark.parametrize(
    "config, said",
    [
        ({"rule": "tbptt", "steps": 4}, "must be a proper divisor of network.time_steps=6"),
        ({"rule": "tbptt", "steps": 6}, "for the whole sequence use learning.rule=bptt"),
        ({"rule": "tbptt"}, "steps is missing; give an integer of at least 1"),
        ({"rule": "sltt", "steps": 2}, 'steps is an option of rule="tbptt", and rule is "sltt"'),
        ({"rule": "sltt", "backward_steps": 7}, "must be at most network.time_steps=6"),
        ({"rule": "sltt", "backward_steps": 0}, "backward_steps=0 is not an integer of at least 1"),
        ({"rule": "slt"}, "rule='slt' is not known"),
        ({"rule": "bptt", "feedback": "random"}, 'feedback is an option of rule="eprop"'),
    ],
)
def test_what_makes_no_sense_is_refused(config, said):
    network, (x, *_) = dense(), sequences()
    with pytest.raises(UsageError, match=said):
        rule_of(network, x[:, :1], **config)
