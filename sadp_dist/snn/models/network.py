"""A spiking network as seen from outside: images or a sequence in, one row of logits per time step out."""

from __future__ import annotations

from spikingjelly.activation_based import functional
from spikingjelly.activation_based.base import MemoryModule
from torch import Tensor, nn

from sadp_dist.errors import UsageError


class SpikingNetwork(nn.Module):
    """Runs a network over T time steps, always from neurons at rest.

    Images are encoded directly: the same image is shown at every time step. What the ``stem`` makes of it
    does not depend on time, so for images it is computed once and its result repeated.

    Args:
        stem: what comes before the first neurons, [t, B, ...] in and out, without state.
        body: the rest, [T, B, ...] to logits [T, B, K]. One with the attribute ``repeats = True`` takes
            [1, B, ...] for what is the same at every time step.
        time_steps: T for images; sequences bring their own.
    """

    def __init__(self, stem: nn.Module, body: nn.Module, time_steps: int) -> None:
        super().__init__()
        self.stem = stem
        self.body = body
        self.time_steps = time_steps
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        """Logits [T, B, K] of images [B, C, H, W], of frames [T, B, C, H, W] or of features [T, B, F].

        Neurons are at rest before and after, also when a forward pass is broken off.

        Raises:
            UsageError: the input has another number of dimensions.
        """
        if x.dim() not in (3, 4, 5):
            raise UsageError(
                f"the input has shape {list(x.shape)}; give images [B, C, H, W], frames [T, B, C, H, W] or "
                "features [T, B, F]"
            )
        # Before: activation checkpointing runs layers again in the backward pass and leaves them charged.
        # After: a potential keeps the graph of its step alive, and a network cannot be copied with it.
        self.reset()
        try:
            if x.dim() == 4:
                current = self.stem(x.unsqueeze(0))
                if not getattr(self.body, "repeats", False):
                    current = current.expand(self.time_steps, -1, -1, -1, -1)
            else:
                current = self.stem(x)
            logits: Tensor = self.body(current)
            return logits
        finally:
            self.reset()

    def reset(self) -> None:
        """Put every neuron at rest: u = 0."""
        for module in self.modules():
            if isinstance(module, MemoryModule):
                module.reset()
