"""Steps with true gradient norms, by Opacus and by torch.func, beside steps with scores.

The network suits all methods: it has convolutions, linear layers and LIF neurons that run step by step. It
has no normalisation over the batch, and its surrogate gradient consists of operations that vmap supports,
unlike SpikingJelly's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

from sadp_dist.scoring import SpikeAwareScorer

TIME_STEPS = 4


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
            weight = convolution.weight
            assert isinstance(weight, Tensor)
            nn.init.kaiming_normal_(weight)
            if layer > 0:
                weight.data *= 2  # few inputs are 1: so that every layer spikes

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


class NormSteps:
    """Computes gradients and scores or norms of a batch with different methods. It waits for no step.

    Args:
        batch: images of a batch.
        device: of everything.
    """

    def __init__(self, batch: int, device: torch.device) -> None:
        self.device = device
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

        return step

    def opacus(self) -> Callable[[], Tensor | None]:
        from opacus import GradSampleModule

        warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)  # as images have none
        network = GradSampleModule(self.network(), loss_reduction="sum")

        def step() -> Tensor:
            network.zero_grad()
            losses = cross_entropy(network(self.images), self.labels, reduction="none")
            losses.sum().backward()
            return _norm([parameter.grad_sample for parameter in network.parameters()])

        return step

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

        return step


def _norm(samples: list[Tensor]) -> Tensor:
    """Return the norms [B] over all parameters of gradients [B, ...]."""
    by_parameter = torch.stack([sample.flatten(1).norm(dim=1) for sample in samples])
    norms: Tensor = torch.linalg.vector_norm(by_parameter, dim=0)
    return norms
