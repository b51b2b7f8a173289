"""Hooks that read what passes through a layer: its input on the way forward, its error δ on the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class Call(NamedTuple):
    """What was kept of one call of a layer whose backward has run."""

    input: Tensor
    error: Tensor


class Tap:
    """The forward hook of one layer. It reads nothing until `active` is set.

    Args:
        keep: what to keep of the input o and of the error δ, which is the gradient of the layer's output. It runs as
            they pass by, so that neither is held longer than autograd holds it.
    """

    def __init__(self, keep: Callable[[Tensor], Tensor] = torch.detach) -> None:
        self.keep = keep
        self.active = False
        self.calls: list[Call] = []
        # What is read does not belong to the network's graph: torch.compile breaks its graph here, and only while
        # the tap is active.
        self._observe = torch.compiler.disable(self._observe_eagerly)

    def __reduce__(self) -> tuple[type[Tap], tuple[()]]:
        """A copied or pickled model gets a tap that nobody activates."""
        return Tap, ()

    def attach(self, layer: nn.Module) -> RemovableHandle:
        return layer.register_forward_hook(self, with_kwargs=True)

    def start(self) -> None:
        self.calls, self.active = [], True

    def stop(self) -> None:
        self.active = False

    def clear(self) -> None:
        self.calls = []

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        if self.active:
            self._observe(args[0] if args else next(iter(kwargs.values())), output)

    def _observe_eagerly(self, input: Tensor, output: Tensor) -> None:
        if not output.requires_grad:  # no error will come: evaluation, or the first pass of a reentrant checkpoint
            return
        calls = self.calls
        with torch.no_grad():
            kept = self.keep(input)

        def observe_error(error: Tensor | None) -> None:
            # The graph of an earlier pass may still be walked; what it brings is not of this pass.
            if self.active and calls is self.calls and error is not None:
                with torch.no_grad():
                    calls.append(Call(kept, self.keep(error)))

        output.register_hook(observe_error)
