"""The neurons follow Eqs. 1-3, forward and backward."""

import math
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based.neuron import LIFNode

from sadp_dist.errors import UsageError
from sadp_dist.snn import NeuronConfig, lif

# Derivatives of the surrogates at distance d from the threshold, with SpikingJelly's default widths.
DERIVATIVES = {
    "atan": lambda d: 1 / (1 + (math.pi * d) ** 2),
    "sigmoid": lambda d: 4 * np.exp(-4 * d) / (1 + np.exp(-4 * d)) ** 2,
    "piecewise_quadratic": lambda d: np.maximum(0, 1 - np.abs(d)),
    "rect": lambda d: (np.abs(d) < 0.5).astype(d.dtype),
}


def plain_loop(x, decay, threshold):
    """Eqs. 1-3 as they stand; also the potentials before the reset."""
    u, charged, spikes = np.zeros_like(x[0]), [], []
    for current in x:
        u = decay * u + current
        o = (u >= threshold).astype(x.dtype)
        charged.append(u)
        spikes.append(o)
        u = u - threshold * o
    return np.stack(spikes), np.stack(charged)


def plain_bptt(x, upstream, decay, threshold, derivative, detach_reset):
    """Gradient of sum(upstream * o) in x, by the chain rule backwards through Eqs. 3, 2 and 1."""
    _, charged = plain_loop(x, decay, threshold)
    gradient, from_next = np.zeros_like(x), np.zeros_like(x[0])
    for t in reversed(range(len(x))):
        spike_slope = derivative(charged[t] - threshold)
        reset_slope = 1 if detach_reset else 1 - threshold * spike_slope
        gradient[t] = upstream[t] * spike_slope + from_next * reset_slope
        from_next = decay * gradient[t]
    return gradient


@settings(max_examples=60)
@given(
    decay=st.floats(0.01, 0.99),
    threshold=st.floats(0.1, 3),
    time_steps=st.integers(1, 8),
    surrogate=st.sampled_from(sorted(DERIVATIVES)),
    detach_reset=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_spikes_and_gradients_are_those_of_a_plain_loop(
    decay, threshold, time_steps, surrogate, detach_reset, seed
):
    rng = np.random.default_rng(seed)
    x = rng.normal(threshold / 2, threshold, size=(time_steps, 3, 5))
    upstream = rng.normal(size=x.shape)

    current = torch.tensor(x, requires_grad=True)
    spikes = lif(decay, threshold, surrogate, detach_reset)(current)
    spikes.backward(torch.tensor(upstream))

    np.testing.assert_array_equal(spikes.detach().numpy(), plain_loop(x, decay, threshold)[0])
    expected = plain_bptt(x, upstream, decay, threshold, DERIVATIVES[surrogate], detach_reset)
    np.testing.assert_allclose(current.grad.numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("surrogate", sorted(DERIVATIVES))
@pytest.mark.parametrize("detach_reset", [False, True])
def test_single_precision_agrees_too(surrogate, detach_reset):
    rng = np.random.default_rng(0)
    x, upstream = rng.normal(0.5, 1, size=(2, 4, 8, 16)).astype(np.float32)

    current = torch.tensor(x, requires_grad=True)
    spikes = lif(0.1, 1.0, surrogate, detach_reset)(current)
    spikes.backward(torch.tensor(upstream))

    assert 0 < spikes.mean() < 1
    np.testing.assert_array_equal(spikes.detach().numpy(), plain_loop(x, 0.1, 1.0)[0])
    expected = plain_bptt(x, upstream, 0.1, 1.0, DERIVATIVES[surrogate], detach_reset)
    np.testing.assert_allclose(current.grad.numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_potentials_stay_in_single_precision_where_currents_do_not(dtype):
    # 200 steps of a current that half precision would lose beside the potential it adds up to.
    x = torch.full((200, 1, 1), 2**-7, dtype=dtype)
    x[0] = 0.5
    spikes = lif(decay=0.999, threshold=1.0)(x)
    assert spikes.dtype == dtype
    expected, potentials = plain_loop(x.double().numpy(), 0.999, 1.0)
    assert expected.any()
    assert np.abs(potentials - 1).min() > 1e-4  # no tie that rounding could decide
    np.testing.assert_array_equal(spikes.double().numpy(), expected)


@settings(max_examples=30)
@given(decay=st.floats(0.01, 0.99), threshold=st.floats(0.1, 3), seed=st.integers(0, 2**32 - 1))
def test_a_reset_to_zero_forgets_the_potential(decay, threshold, seed):
    x = np.random.default_rng(seed).normal(threshold, threshold, size=(6, 3, 5))
    current = torch.tensor(x, requires_grad=True)
    spikes = lif(decay, threshold, detach_reset=True, reset="zero")(current)
    spikes.sum().backward()

    u, expected, charged = np.zeros_like(x[0]), [], []
    for step in x:
        u = decay * u + step
        charged.append(u)
        expected.append((u >= threshold).astype(float))
        u = np.where(u >= threshold, 0.0, u)
    np.testing.assert_array_equal(spikes.detach().numpy(), np.stack(expected))
    gradient = np.zeros_like(x)  # with the spike a constant, what it reset hands nothing back
    for t in reversed(range(len(x))):
        from_next = decay * gradient[t + 1] * (1 - expected[t]) if t + 1 < len(x) else 0.0
        gradient[t] = DERIVATIVES["atan"](charged[t] - threshold) + from_next
    np.testing.assert_allclose(current.grad.numpy(), gradient, rtol=1e-9, atol=1e-12)


def test_twice_the_threshold_is_a_current_that_decays_with_a_time_constant_of_two():
    x = torch.randn(8, 4, 16, generator=torch.Generator().manual_seed(0)) * 2
    theirs = LIFNode(tau=2.0, decay_input=True, v_threshold=1.0, v_reset=0.0, step_mode="m")(x)
    assert 0.1 < theirs.mean() < 0.9
    assert torch.equal(lif(decay=0.5, threshold=2.0, reset="zero")(x), theirs)


def test_a_neuron_exactly_at_its_threshold_spikes():
    below, at = np.nextafter(np.float32(0.75), np.float32(0)), np.float32(0.75)
    spikes = lif(threshold=0.75)(torch.tensor([[below, at]]))
    assert spikes.tolist() == [[0.0, 1.0]]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_neurons_do_the_same_for_batches_of_every_size():
    torch.manual_seed(0)
    plain, compiled = lif(backend="torch"), lif(backend="inductor")
    for batch in (6, 4, 1):
        results = []
        x = torch.randn(4, batch, 8) + 0.5
        for neurons in (plain, compiled):
            neurons.reset()
            current = x.clone().requires_grad_()
            spikes = neurons(current)
            (spikes * torch.arange(8)).sum().backward()
            results.append((spikes, current.grad))
        torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"decay": 0.0}, r"decay=0.0 is not a number in \(0, 1\)"),
        ({"decay": 1.0}, r"decay=1.0 is not a number in \(0, 1\)"),
        ({"decay": math.nan}, "decay=nan"),
        ({"threshold": 0.0}, "threshold=0.0 is not a number above 0"),
        ({"threshold": math.inf}, "threshold=inf"),
        ({"surrogate": "atam"}, 'surrogate=.atam. is not one of .* did you mean "atan"'),
        ({"reset": "nil"}, 'reset=.nil. is not one of "subtract", "zero"'),
        ({"backend": "induktor"}, 'backend=.induktor. is not one of .* did you mean "inductor"'),
    ],
)
def test_settings_that_make_no_neuron_are_refused_in_one_line(setting, message):
    for refuse in (NeuronConfig, lif):
        with pytest.raises(UsageError, match=message) as refusal:
            refuse(**setting)
        assert "\n" not in str(refusal.value)


def test_without_a_compiler_the_compiled_backend_is_refused(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match='no-such-compiler is not installed; use backend="torch"'):
        lif(backend="inductor")
