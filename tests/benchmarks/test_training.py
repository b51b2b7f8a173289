"""What the benchmarks of training compare is the same work, and their figures are what they say."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmarks.time_to_accuracy import seconds_to
from benchmarks.training_memory import peak_of_torch
from sadp_dist.selftest.true_norms import Network, NormSteps

CURVE = [{"seconds": s, "accuracy": a} for s, a in [(2.0, 0.4), (4.0, 0.3), (6.0, 0.5)]]


def test_norms_by_torch_func_are_those_of_one_example_at_a_time() -> None:
    steps = NormSteps(3, torch.device("cpu"))
    norms = steps.func()()
    network = steps.network()
    for i in range(3):
        network.zero_grad()
        cross_entropy(network(steps.images[i : i + 1]), steps.labels[i : i + 1]).backward()
        alone = torch.cat([parameter.grad.flatten() for parameter in network.parameters()]).norm()
        assert norms[i] == pytest.approx(alone.item(), rel=1e-4)


def test_the_exact_score_of_the_last_layer_is_below_the_norm_over_all_layers() -> None:
    steps = NormSteps(4, torch.device("cpu"))
    assert (steps.scored({"layers": "last", "exact": True})() < steps.func()()).all()


def test_every_layer_of_the_network_spikes() -> None:
    torch.manual_seed(0)
    network, rates = Network(), []
    for convolution in network.convolutions:
        convolution.register_forward_hook(lambda _, __, output: rates.append((output >= 1).float().mean()))
    network(torch.randn(4, 3, 32, 32))
    assert min(rates) > 0.01


def test_the_time_to_an_accuracy_is_when_it_is_first_reached() -> None:
    assert seconds_to(0.2, CURVE) == pytest.approx(1)
    assert seconds_to(0.4, CURVE) == 2
    assert seconds_to(0.45, CURVE) == pytest.approx(5.5)
    with pytest.raises(ValueError, match="above"):
        seconds_to(0.6, CURVE)


def test_the_peak_counts_what_is_freed_again() -> None:
    def work() -> None:
        for size in (1000, 3000, 2000):
            torch.empty(size, dtype=torch.float64)

    if torch.cuda.is_available():
        pytest.skip("counts the GPU's memory here")
    assert 24_000 <= peak_of_torch(work) < 40_000
