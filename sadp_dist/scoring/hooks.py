"""Hooks that read a layer's input and error δ, and the shapes of the network's inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Call(NamedTuple):
    """What a hook kept of one call of a layer, after its backward."""

    input: Tensor
    error: Tensor


class Tap:
    """A forward hook of one layer, which does nothing until it is started.

    Args:
        keep: computes what to keep from the input o and from the error δ, the gradient of the layer's output.
            It is called during forward and backward: if it returns norms, no large tensor is kept.
    """

    def __init__(self, keep: Callable[[Tensor], Tensor] = torch.detach) -> None:
        self.keep = keep
        self.calls: list[Call] = []
        self._active = False
        # The hook is not part of the network's graph: torch.compile breaks the graph here if it is active.
        self._read = torch.compiler.disable(self._read_eagerly)

    def __reduce__(self) -> tuple[type[Tap], tuple[()]]:
        """A copied or pickled model has a new tap that is not started."""
        return Tap, ()

    def start(self) -> None:
        self.calls, self._active = [], True

    def stop(self) -> None:
        self._active = False

    def clear(self) -> None:
        self.calls = []

    def __call__(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> None:
        if self._active:
            self._read(next(iter((*args, *kwargs.values()))), output)

    def _read_eagerly(self, o: Tensor, output: Tensor) -> None:
        if not output.requires_grad:  # no backward follows: evaluation, or a reentrant checkpoint
            return
        calls = self.calls
        with torch.no_grad():
            kept = self.keep(o)

        def read_error(δ: Tensor | None) -> None:
            # Ignore a backward through the graph of an earlier pass.
            if self._active and calls is self.calls and δ is not None:
                with torch.no_grad():
                    calls.append(Call(kept, self.keep(δ.reshape(output_shape))))

        output_shape = output.shape
        _unviewed(output).register_hook(read_error)


class InputShapes:
    """A forward pre-hook of the network that records the shapes of its inputs after its start."""

    def __init__(self) -> None:
        self.calls: set[tuple[tuple[int, ...], ...]] = set()
        self._active = False
        self._read = torch.compiler.disable(self._read_eagerly)

    def __reduce__(self) -> tuple[type[InputShapes], tuple[()]]:
        """A copied or pickled model has a new hook that is not started, as for `Tap`."""
        return InputShapes, ()

    def start(self) -> None:
        self.calls, self._active = set(), True

    def stop(self) -> None:
        self._active = False

    def clear(self) -> None:
        self.calls = set()

    def __call__(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._active:
            self._read((*args, *kwargs.values()))

    def _read_eagerly(self, inputs: tuple[Any, ...]) -> None:
        shapes = tuple(tuple(x.shape) for x in inputs if isinstance(x, Tensor) and x.dim() > 0)
        if shapes and torch.is_grad_enabled():  # otherwise no backward follows, as in `Tap`
            self.calls.add(shapes)


def _unviewed(output: Tensor) -> Tensor:
    """Return the base of an output that is a reshaped view: a view loses its hooks if it changes in place."""
    base = output._base
    if base is None or base.numel() != output.numel() or not base.requires_grad:
        return output
    return base if base.is_contiguous() and output.is_contiguous() else output
