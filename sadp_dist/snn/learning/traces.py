"""Eligibility traces: weight gradients from traces of a layer's inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from spikingjelly.activation_based.base import MemoryModule
from spikingjelly.activation_based.layer.online_learning import ReplaceforGrad
from torch import Tensor, nn


class Trace(MemoryModule):
    """Hooks of a convolution or linear layer whose weights learn from the trace of its input

        â[t] = λ â[t-1] + s[t]

    so that ∇_W = Σ_t δ[t] â[t]ᵀ. δ[t] is the error of the layer's output. The output of the layer, and the
    error of its input, follow from s[t]. SpikingJelly's GradwithTrace does this for inputs that carry their
    trace; here the trace is computed from the input, in any network.

    Args:
        layer: whose weights learn from traces.
        decay: λ.
    """

    trace: Tensor | None

    def __init__(self, layer: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay, self.active = decay, False
        self.register_memory("trace", None)
        self.spikes: Tensor | None = None  # of this time step, between the two hooks
        layer.register_forward_pre_hook(self._before)
        layer.register_forward_hook(self._after)

    def _before(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor, ...] | None:
        if not self.active:
            return None
        (self.spikes,) = args
        with torch.no_grad():
            self.trace = self.spikes.detach() if self.trace is None else self.decay * self.trace + self.spikes
        return (ReplaceforGrad.apply(self.spikes, self.trace),)

    def _after(self, layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if not self.active:
            return None
        with torch.no_grad():
            now = layer.forward(self.spikes)
        self.spikes = None
        replaced: Tensor = ReplaceforGrad.apply(output, now)
        return replaced


class Traces(nn.ModuleList):
    """Traces of several layers, active only inside a ``with``."""

    def __init__(self, layers: Iterable[nn.Module], decay: float) -> None:
        super().__init__(Trace(layer, decay) for layer in layers)

    def __enter__(self) -> None:
        self._set(True)

    def __exit__(self, *_: object) -> None:
        self._set(False)

    def _set(self, active: bool) -> None:
        for trace in self:
            assert isinstance(trace, Trace)
            trace.active = active
            trace.reset()
