"""The order of a network's layers, from the autograd graph of a pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils._pytree import tree_leaves


class CallGraph:
    """The calls of layers in a pass, and what lies between them; a forward hook of the network.

    A layer is last if the loss reaches one of its calls and no call of another layer lies between them. The
    backward pass meets a call before everything that the call depends on.
    """

    def __init__(self) -> None:
        self._active = False
        self._read = torch.compiler.disable(self._read_outputs)
        self.clear()

    def __reduce__(self) -> tuple[type[CallGraph], tuple[()]]:
        """A copied or pickled model has a new hook that is not started."""
        return CallGraph, ()

    def start(self) -> None:
        self.clear()
        self._active = True

    def stop(self) -> None:
        self._active = False

    def clear(self) -> None:
        # Calls are known by number: a hook that refers to a node of its own graph would keep both alive.
        self._calls: list[Node] = []
        self._inputs: dict[Node, list[Node | None]] = {}
        """The nodes before a call, by the node of its output."""
        self._outputs: list[Node | None] = []
        self._last: dict[str, list[Node]] = {}
        self._before: set[Node] = set()

    def __call__(self, network: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._active:
            self._read(output)

    def _read_outputs(self, output: Any) -> None:
        self._outputs += [x.grad_fn for x in tree_leaves(output) if isinstance(x, Tensor) and x.requires_grad]

    def add(self, o: Tensor, node: Node) -> int:
        """Add a call with the input `o` and the output's node, and return its number."""
        # In a compiled graph both may be of one node.
        inside = [each for each, _ in node.next_functions]
        self._inputs.setdefault(node, inside if o.grad_fn is node else [o.grad_fn])
        self._calls.append(node)
        return len(self._calls) - 1

    def meet(self, name: str, call: int, recomputed: bool) -> bool:
        """Return whether a layer may be a last one, when the backward pass meets a call of it.

        Args:
            name: of the layer.
            call: its number.
            recomputed: whether the call was made in the backward pass, by a reentrant checkpoint, whose graph
                is not connected with the rest.
        """
        node = self._calls[call]
        if name not in self._last and (node in self._before or (recomputed and self._last)):
            return False
        self._last.setdefault(name, []).append(node)
        self._walk(self._inputs[node], self._before)
        return True

    def last(self) -> list[str]:
        """Return the names of the last layers."""
        return [name for name, nodes in self._last.items() if not self._before.issuperset(nodes)]

    def weights_after_the_last(self) -> set[Tensor]:
        """Return the leaves from which outputs are computed other than in or before calls of layers."""
        return _leaves(self._walk(self._outputs, set(), through_calls=False) - self._before)

    def weights_between(self) -> set[Tensor]:
        """Return the leaves from which outputs and inputs of layers are computed other than in a layer."""
        return _leaves(self._walk([*self._outputs, *self._inputs], set()))

    def _walk(self, starts: Iterable[Node | None], seen: set[Node], through_calls: bool = True) -> set[Node]:
        """Add all nodes that lead to these to `seen`, without the inside of calls, and return it."""
        stack = list(starts)
        while stack:
            node = stack.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if node not in self._inputs:
                stack.extend(each for each, _ in node.next_functions)
            elif through_calls:
                stack.extend(self._inputs[node])
        return seen


def _leaves(nodes: set[Node]) -> set[Tensor]:
    return {node.variable for node in nodes if hasattr(node, "variable")}
