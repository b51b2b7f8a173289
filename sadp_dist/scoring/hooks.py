"""Hooks that read a layer's input and error δ, and the shapes of the network's inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sadp_dist.scoring.call_graph import CallGraph

Keep = Callable[[nn.Module, Tensor], Tensor]
"""Computes what to keep of an input or error of a layer."""


class Call(NamedTuple):
    """What a hook kept of one call of a layer, after its backward."""

    input: Tensor
    error: Tensor
    output_shape: torch.Size


def _detached(layer: nn.Module, x: Tensor) -> Tensor:
    return x.detach()


class Tap:
    """A forward hook of one layer, which does nothing until it is started.

    Args:
        keep_input: computes what to keep from the input o.
        keep_error: computes what to keep from the error δ, the gradient of the layer's output. Both run in
            forward and backward: if they return norms, no large tensor is kept.
        name: of the layer.
    """

    def __init__(self, keep_input: Keep = _detached, keep_error: Keep = _detached, name: str = "") -> None:
        self.keep_input, self.keep_error, self.name = keep_input, keep_error, name
        self.calls: list[Call] = []
        self.graph: CallGraph | None = None
        """Of the pass, if the order of the layers is to be found."""
        self.only_last = False
        """Whether to keep only calls of layers that `graph` counts as last."""
        self.before_call: Callable[[], None] | None = None
        """Run before each call, to see whether it begins a new pass."""
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
            self._read(layer, next(iter((*args, *kwargs.values()))), output)

    def _read_eagerly(self, layer: nn.Module, o: Tensor, output: Tensor) -> None:
        if not output.requires_grad:  # no backward follows: evaluation, or a reentrant checkpoint
            return
        if self.before_call is not None:
            self.before_call()
        calls, graph, output_shape = self.calls, self.graph, output.shape
        unviewed = _unviewed(output)
        recomputed = _in_backward()
        number = -1
        if graph is not None:
            assert unviewed.grad_fn is not None
            number = graph.add(o, unviewed.grad_fn)
        with torch.no_grad():
            kept = [self.keep_input(layer, o)]

        def read_error(δ: Tensor | None) -> None:
            # Ignore a backward through the graph of an earlier pass.
            if not self._active or calls is not self.calls or δ is None:
                return
            if graph is not None and self.only_last and not graph.meet(self.name, number, recomputed):
                kept.clear()
            if kept:
                with torch.no_grad():
                    error = self.keep_error(layer, δ.reshape(output_shape))
                    calls.append(Call(kept[0], error, output_shape))

        unviewed.register_hook(read_error)


class PassStart:
    """A forward pre-hook of the network: records the shapes of its inputs, and sees where a new pass begins.

    Calls belong to one pass while their gradients add up. If the weights have changed or have
    no gradient any more, as in the closures of LBFGS and SAM, the taps have kept calls of an earlier pass.

    Args:
        weights: of the layers that have taps.
        taps: of the layers.
        graph: of the layers.
    """

    def __init__(
        self, weights: Sequence[Tensor] = (), taps: Sequence[Tap] = (), graph: CallGraph | None = None
    ) -> None:
        self._weights, self._taps, self._graph = weights, taps, graph
        for tap in taps:  # parts of the network may be called by themselves
            tap.before_call = self._forget_earlier_pass
        self.calls: set[tuple[tuple[int, ...], ...]] = set()
        self._versions: list[int] = []
        self._active = False
        self._read = torch.compiler.disable(self._read_eagerly)

    def __reduce__(self) -> tuple[type[PassStart], tuple[()]]:
        """A copied or pickled model has a new hook that is not started, as for `Tap`."""
        return PassStart, ()

    def start(self) -> None:
        self._active = True
        self.clear()

    def stop(self) -> None:
        self._active = False

    def clear(self) -> None:
        self.calls = set()
        self._versions = [weight._version for weight in self._weights]

    def forget_graph(self) -> Sequence[Tap]:
        """Let all taps keep calls whatever their order, and return the taps."""
        self._graph = None
        for tap in self._taps:
            tap.graph, tap.only_last = None, False
        return self._taps

    def __call__(self, network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._active:
            self._read((*args, *kwargs.values()))

    def _read_eagerly(self, inputs: tuple[Any, ...]) -> None:
        if not torch.is_grad_enabled():  # no backward follows, as in `Tap`
            return
        self._forget_earlier_pass()
        shapes = tuple(tuple(x.shape) for x in inputs if isinstance(x, Tensor) and x.dim() > 0)
        if shapes:
            self.calls.add(shapes)

    def _forget_earlier_pass(self) -> None:
        # A checkpoint runs the network again in the backward pass.
        if any(tap.calls for tap in self._taps) and self._gradients_begin_anew() and not _in_backward():
            self.clear()
            for tap in self._taps:
                tap.clear()
            if self._graph is not None:
                self._graph.clear()

    def _gradients_begin_anew(self) -> bool:
        changed = self._versions != [weight._version for weight in self._weights]
        return changed or all(weight.grad is None for weight in self._weights)


def _in_backward() -> bool:
    return torch._C._current_graph_task_id() >= 0


def _unviewed(output: Tensor) -> Tensor:
    """Return the base of an output that is a reshaped view: a view loses its hooks if it changes in place."""
    base = output._base
    if base is None or base.numel() != output.numel() or not base.requires_grad:
        return output
    return base if base.is_contiguous() and output.is_contiguous() else output
