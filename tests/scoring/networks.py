"""A small spiking network in three ways of running time, and its scores by definition."""

from __future__ import annotations

import math

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

T, CLASSES = 4, 5
WAYS = ("multi-step", "single-step", "flattened")
LAYERS = ("conv1", "conv2", "fc", "head")


def hint(way: str) -> dict[str, str]:
    """What the scorer has to be told of a network that runs in this way."""
    return {"layout": "time"} if way == "flattened" else {}


class SpikingNetwork(nn.Module):
    """Conv, batch norm in eval mode, conv, linear, linear; images [B, 3, 8, 8] -> logits [T, B, 5]."""

    def __init__(self, way: str = "multi-step", seed: int = 0) -> None:
        super().__init__()
        self.way = way
        modules = layer if way == "multi-step" else nn
        self.conv1 = modules.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = modules.BatchNorm2d(6)
        self.conv2 = modules.Conv2d(6, 8, 3, stride=2)
        self.fc = modules.Linear(72, 16)
        self.head = modules.Linear(16, CLASSES)
        self.neurons = nn.ModuleList(neuron.LIFNode(tau=2.0) for _ in range(3))
        functional.set_step_mode(self, "s" if way == "single-step" else "m")
        generator = torch.Generator().manual_seed(seed)
        for weights in self.parameters():
            if weights.dim() > 1:  # large enough for spikes in every layer
                weights.data = torch.randn(weights.shape, generator=generator) * 3 / weights[0].numel() ** 0.5
            else:
                weights.data = torch.rand(weights.shape, generator=generator)
        self.norm.running_var.fill_(2.0)
        self.norm.eval()

    def forward(self, images: Tensor) -> Tensor:
        functional.reset_net(self)
        # Each frame is brighter than the last, so that time steps differ from the first layer on.
        frames = torch.stack([images * (t + 1) / T for t in range(T)])
        if self.way == "single-step":
            return torch.stack([self.run(frame) for frame in frames])
        return self.run(frames)

    def run(self, x: Tensor) -> Tensor:
        x = self.neurons[0](self.stateless(x, self.conv1, self.norm))
        x = self.neurons[1](self.stateless(x, self.conv2))
        x = self.neurons[2](self.stateless(x.flatten(-3), self.fc))
        return self.stateless(x, self.head)

    def stateless(self, x: Tensor, *modules: nn.Module) -> Tensor:
        if self.way == "flattened":
            return functional.seq_to_ann_forward(x, modules)
        for module in modules:
            x = module(x)
        return x


def batch(size: int = 6, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Images, labels and coefficients of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    images = 2 * torch.rand(size, 3, 8, 8, generator=generator)
    labels = torch.randint(CLASSES, (size,), generator=generator)
    return images, labels, torch.exp(3 * torch.randn(size, generator=generator))


def losses(logits: Tensor, labels: Tensor) -> Tensor:
    """[T, B, K] -> [B]"""
    return cross_entropy(logits.float().mean(0), labels, reduction="none")


def scores_by_definition(
    network: nn.Module, images: Tensor, labels: Tensor, layers: tuple[str, ...]
) -> Tensor:
    """Eq. 29, one example at a time and one time step at a time, from gradients that autograd retains.

    Beside ‖o‖² a bias counts as often as it is added, over the times that a convolution uses an input.
    """
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []

    def retain(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        output.retain_grad()
        seen.append((module, inputs[0].detach(), output))

    hooks = [network.get_submodule(name).register_forward_hook(retain) for name in layers]
    scores = []
    for image, label in zip(images, labels, strict=True):
        seen.clear()
        losses(network(image[None]), label[None]).sum().backward()
        scores.append(
            sum(
                δ.double().norm() * (o.double().square().sum() + biases(module, δ)).sqrt()
                for module, inputs, output in seen
                for o, δ in zip(inputs, output.grad, strict=True)
            )
        )
    for hook in hooks:
        hook.remove()
    network.zero_grad()
    return torch.stack(scores)


def biases(module: nn.Module, δ: Tensor) -> float:
    if module.bias is None:
        return 0.0
    kernel, stride = (getattr(module, name, ()) for name in ("kernel_size", "stride"))
    uses = math.prod(math.ceil(k / s) for k, s in zip(kernel, stride, strict=True))
    return δ.numel() / len(module.bias) / uses


def gradient_norms(network: nn.Module, images: Tensor, labels: Tensor, layers: tuple[str, ...]) -> Tensor:
    """Eq. 6: the norm of the gradient of the layers' weights and biases, one example at a time."""
    weights = [weight for name in layers for weight in network.get_submodule(name).parameters()]
    norms = []
    for image, label in zip(images, labels, strict=True):
        loss = losses(network(image[None]), label[None]).sum()
        gradients = torch.autograd.grad(loss, weights)
        norms.append(torch.cat([gradient.double().flatten() for gradient in gradients]).norm())
    return torch.stack(norms)


def assert_close(actual: Tensor, expected: Tensor, relative: float = 1e-4) -> None:
    assert (expected > 0).all(), "a score of zero would show nothing"
    torch.testing.assert_close(actual.double(), expected.double(), rtol=relative, atol=0)
