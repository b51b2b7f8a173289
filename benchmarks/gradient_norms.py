"""Scores compared with true gradient norms from Opacus and torch.func.

Each method adds some time to a training step, and its values correlate with the true norms of the per-
example gradients. All methods use one network that suits them: convolutions, linear layers and LIF neurons
that run step by step. It has no batch normalisation, and its surrogate gradient consists of operations that
vmap supports, unlike SpikingJelly's. On the CPU, one thread runs, and the times are CPU times.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from benchmarks.result import Options, Ratio, Result, Table
from benchmarks.timing import in_turns, median_ratio
from sadp_dist.scoring import SpikeAwareScorer

TIME_STEPS = 4
PLAIN, LAST, EXACT, ALL = "no scores", "last layer", "last layer, exact", "all layers"
OPACUS, FUNC = "Opacus, true norms", "torch.func, true norms"
SCORES: dict[str, dict[str, Any]] = {
    LAST: {"layers": "last"},
    EXACT: {"layers": "last", "exact": True},
    ALL: {"layers": "all"},
}


class Network(nn.Module):
    """Three convolutions, each followed by LIF neurons, and a linear layer; images to logits [B, 10]."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128), size: int = 32) -> None:
        super().__init__()
        channels = (3, *widths)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(channels[:-1], widths, strict=True)
        )
        self.head = nn.Linear(widths[-1] * (size // 2 ** len(widths)) ** 2, 10)
        for layer, convolution in enumerate(self.convolutions):
            nn.init.kaiming_normal_(convolution.weight)
            if layer > 0:
                convolution.weight.data *= 2  # few inputs are 1: so that every layer spikes

    def forward(self, images: Tensor) -> Tensor:
        potentials: list[Tensor | float] = [0.0] * len(self.convolutions)
        logits = []
        for _ in range(TIME_STEPS):
            x = images
            for layer, convolution in enumerate(self.convolutions):
                u = 0.1 * potentials[layer] + convolution(x)
                x = spike(u - 1)
                potentials[layer] = u - x
            logits.append(self.head(x.flatten(1)))
        return torch.stack(logits).mean(0)


def spike(above: Tensor) -> Tensor:
    """Return 1 where `above` >= 0, with the gradient of SpikingJelly's ATan."""
    smooth = torch.atan(torch.pi * above) / torch.pi
    return (above >= 0).to(above.dtype) + smooth - smooth.detach()


class Steps:
    """Computes gradients and scores or norms of a batch with different methods."""

    def __init__(self, batch: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(batch, 3, 32, 32, generator=generator).to(self.device)
        self.labels = torch.randint(10, (batch,), generator=generator).to(self.device)
        self.coefficients = torch.full((batch,), 1 / batch, device=self.device)

    def network(self) -> Network:
        torch.manual_seed(0)
        return Network().to(self.device)

    def scored(self, scoring: dict[str, Any] | None) -> Callable[[], Tensor | None]:
        network = self.network()
        scorer = None if scoring is None else SpikeAwareScorer(network, **scoring)

        def step() -> Tensor | None:
            network.zero_grad()
            with scorer or nullcontext():
                losses = cross_entropy(network(self.images), self.labels, reduction="none")
                (self.coefficients * losses).sum().backward()
            return None if scorer is None else scorer.scores(self.coefficients)

        return self._awaited(step)

    def opacus(self) -> Callable[[], Tensor | None]:
        from opacus import GradSampleModule

        warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)  # as images have none
        network = GradSampleModule(self.network(), loss_reduction="sum")

        def step() -> Tensor:
            network.zero_grad()
            losses = cross_entropy(network(self.images), self.labels, reduction="none")
            losses.sum().backward()
            return _norm([parameter.grad_sample for parameter in network.parameters()])

        return self._awaited(step)

    def func(self) -> Callable[[], Tensor | None]:
        network = self.network()

        def loss(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
            logits = functional_call(network, parameters, (image[None],))
            return cross_entropy(logits, label[None])

        gradients = vmap(grad(loss), in_dims=(None, 0, 0))

        def step() -> Tensor:
            parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
            samples = gradients(parameters, self.images, self.labels)
            for name, parameter in network.named_parameters():
                parameter.grad = samples[name].mean(0)
            return _norm(list(samples.values()))

        return self._awaited(step)

    def _awaited(self, step: Callable[[], Tensor | None]) -> Callable[[], Tensor | None]:
        def awaited() -> Tensor | None:
            result = step()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            return result

        return awaited


def measure(options: Options) -> Result:
    """See the module."""
    on_gpu = torch.cuda.is_available()
    torch.set_num_threads(1)
    steps = Steps(256 if on_gpu else 16 if options.short else 64)
    ways = {PLAIN: steps.scored(None), **{name: steps.scored(scoring) for name, scoring in SCORES.items()}}
    missing = ""
    if find_spec("opacus"):
        ways[OPACUS] = steps.opacus()
    else:
        missing = " Opacus is not installed."
    ways[FUNC] = steps.func()
    truth = ways[FUNC]()
    assert truth is not None
    if OPACUS in ways:
        torch.testing.assert_close(ways[OPACUS](), truth, rtol=1e-3, atol=1e-5)
    clock = time.perf_counter if on_gpu else time.process_time
    seconds = in_turns(ways, 5 if options.short else 15, clock=clock)
    rows: list[list[str | float | None]] = []
    for name, way in ways.items():
        found = way()
        agreement = None if found is None else f"{torch.corrcoef(torch.stack([found, truth]))[0, 1]:.3f}"
        ratio = median_ratio(seconds[name], seconds[PLAIN])
        rows.append([name, 1e3 * statistics.median(seconds[name]), f"{ratio:.3f}", agreement])
    where = torch.cuda.get_device_name() if on_gpu else "one CPU thread"
    table = Table(
        f"Forward and backward pass, T = {TIME_STEPS}, batch {len(steps.labels)}, {where}",
        ["scores or norms", "step, ms", "relative to no scores", "correlation with the true norms"],
        rows,
        "The network has its initial weights and gets noise: the table compares times, not the quality of "
        f"scores in training. Every method also computes the mean gradient.{missing}",
    )
    ratios = [
        Ratio(f"{peer} / {ALL}, step", median_ratio(seconds[peer], seconds[ALL]), "higher", slack=slack)
        for peer, slack in ((OPACUS, None), (FUNC, 1.5))  # the first is not everywhere
        if peer in seconds
    ]
    return Result([table], ratios)


def _norm(samples: list[Tensor]) -> Tensor:
    """Return the norms [B] over all parameters of gradients [B, ...]."""
    return torch.stack([sample.flatten(1).norm(dim=1) for sample in samples]).norm(dim=0)
