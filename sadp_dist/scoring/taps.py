"""Hooks that read what passes through a layer, its input on the way forward and its error δ on the way back,
and the shape of what the network takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Call(NamedTuple):
    """What was kept of one call of a layer whose backward has run."""

    input: Tensor
    error: Tensor


class Tap:
    """The forward hook of one layer, which reads nothing until it is started.

    Args:
        keep: what to keep of the input o, and of the error δ, which is the gradient of the layer's output. It
            is called as they pass by: where it takes norms, nothing is held longer than autograd holds it.
    """

    def __init__(self, keep: Callable[[Tensor], Tensor] = torch.detach) -> None:
        self.keep = keep
        self.calls: list[Call] = []
        self._active = False
        # Reading is no part of the network's graph: torch.compile breaks the graph here if it is active.
        self._read = torch.compiler.disable(self._read_eagerly)

    def __reduce__(self) -> tuple[type[Tap], tuple[()]]:
        """In a copied or pickled model is a tap that nobody starts."""
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
        if not output.requires_grad:  # no backward: evaluation, or a reentrant checkpoint's first pass
            return
        calls = self.calls
        with torch.no_grad():
            kept = self.keep(o)

        def read_error(δ: Tensor | None) -> None:
            # A backward through the graph of an earlier pass brings nothing to this one.
            if self._active and calls is self.calls and δ is not None:
                with torch.no_grad():
                    calls.append(Call(kept, self.keep(δ.reshape(output_shape))))

        output_shape = output.shape
        _unviewed(output).register_hook(read_error)


class Entrance:
    """The forward pre-hook of the network: the shapes of the tensors that it takes, from its start on."""

    def __init__(self) -> None:
        self.calls: set[tuple[tuple[int, ...], ...]] = set()
        self._active = False
        self._read = torch.compiler.disable(self._read_eagerly)

    def __reduce__(self) -> tuple[type[Entrance], tuple[()]]:
        """In a copied or pickled model, as for `Tap`, nobody starts it."""
        return Entrance, ()

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
        if shapes and torch.is_grad_enabled():  # else no backward follows, as in `Tap`
            self.calls.add(shapes)


def _unviewed(output: Tensor) -> Tensor:
    """What the output is a mere reshape of, if of anything: changed in place, a view loses its hooks."""
    base = output._base
    if base is None or base.numel() != output.numel() or not base.requires_grad:
        return output
    return base if base.is_contiguous() and output.is_contiguous() else output
