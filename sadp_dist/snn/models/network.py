"""The interface of all networks: images or sequences in, logits of every time step out."""

from __future__ import annotations

from spikingjelly.activation_based import functional
from spikingjelly.activation_based.base import MemoryModule
from torch import Tensor, nn

from sadp_dist.errors import UsageError


class SpikingNetwork(nn.Module):
    """Runs a network over T time steps. All potentials are 0 before the first one.

    Images have direct encoding: the same image is the input of every time step. The output of the ``stem`` is
    then the same at every time step, so it is computed once and repeated.

    Args:
        stem: the layers before the first neurons, from [t, B, ...] to [t, B, ...], without state.
        body: the other layers, from [T, B, ...] to logits [T, B, K]. A body with the attribute
            ``repeats = True`` also accepts [1, B, ...] for an input that is the same at every time step.
        time_steps: T for images. The T of a sequence is its length.
    """

    def __init__(self, stem: nn.Module, body: nn.Module, time_steps: int) -> None:
        super().__init__()
        self.stem = stem
        self.body = body
        self.time_steps = time_steps
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [T, B, K] of images [B, C, H, W], frames [T, B, C, H, W] or features [T, B, F].

        The neurons are reset before and after the pass, also if it raises an exception.

        Raises:
            UsageError: the input has another number of dimensions.
        """
        if x.dim() not in (3, 4, 5):
            raise UsageError(
                f"the input has shape {list(x.shape)}; give images [B, C, H, W], frames [T, B, C, H, W] or "
                "features [T, B, F]"
            )
        # Before: activation checkpointing runs layers again in the backward pass and leaves potentials.
        # After: a potential keeps the graph of its step alive, and a network with a graph cannot be copied.
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
        """Set the potentials of all neurons to 0."""
        for module in self.modules():
            if isinstance(module, MemoryModule):
                module.reset()
