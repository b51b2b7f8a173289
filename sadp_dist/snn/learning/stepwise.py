"""The base class of rules with a backward pass after each chunk of time steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import ClassVar, NamedTuple

import torch
from spikingjelly.activation_based import functional
from torch import Tensor

from sadp_dist.errors import UsageError
from sadp_dist.snn.learning.config import LearningConfig
from sadp_dist.snn.learning.rule import LearningContext, LearningRule, Passes

Encode = Callable[[int, int], Tensor]
"""Computes the stem's output [steps, B, ...] from a first time step and a number of steps."""


class Chunk(NamedTuple):
    """The outputs of a chunk of time steps.

    Attributes:
        logits: [steps, B, K].
        losses: (B,) of the output, times `share`.
        labels: (B,).
        coefficients: (B,) c_i.
        share: number of time steps of the chunk divided by T.
    """

    logits: Tensor
    losses: Tensor
    labels: Tensor
    coefficients: Tensor
    share: float


class StepwiseRule(LearningRule):
    """Processes time in chunks. Neurons keep their potentials between chunks, without the graph.

    The loss of a sequence is the mean over its time steps, so a chunk of k steps has the factor k/T. Memory
    is needed for one chunk, and for the logits [T, B, K].
    """

    step_by_step: ClassVar[bool] = True

    encodes_once: ClassVar[bool] = True
    """Whether the stem of an image, and its gradient, are computed once for all time steps."""

    def __init__(self, config: LearningConfig, context: LearningContext) -> None:
        super().__init__(config, context)
        for name, module in context.network.named_modules():
            if not getattr(module, "stepwise", True):
                raise UsageError(
                    f"learning.rule={config.rule} needs single time steps, but {type(module).__name__} "
                    f"({name}) computes all at once; use learning.rule=bptt, other neurons or another network"
                )
        self.at_work: list[AbstractContextManager[object]] = []
        """Contexts that are active during a micro-batch, such as traces and cuts."""

    @property
    def chunk(self) -> int:
        return 1

    def learn(
        self, inputs: Tensor, labels: Tensor, coefficients: Tensor, passes: Passes, key: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        T = self.network.time_steps if inputs.dim() == 4 else len(inputs)
        chosen = self.backward_chunks(T, key)
        logits, losses = [], torch.zeros_like(coefficients)
        with ExitStack() as stack:
            for each in self.at_work:
                stack.enter_context(each)
            stack.callback(self.network.reset)
            self.network.reset()
            encode = stack.enter_context(self._encoding(inputs, passes))
            for number, start in enumerate(range(0, T, self.chunk)):
                steps = min(self.chunk, T - start)
                with torch.set_grad_enabled(number in chosen):
                    with passes.autocast():
                        out = self.network.body(encode(start, steps))
                    loss = passes.loss(out, labels) * (steps / T)
                    if number in chosen:
                        self.backward_chunk(Chunk(out, loss, labels, coefficients, steps / T), passes)
                functional.detach_net(self.network)
                logits.append(out.detach())
                losses += loss.detach()
        return torch.cat(logits), losses

    def backward_chunks(self, time_steps: int, key: tuple[int, int]) -> set[int]:
        """Return the numbers of the chunks with a backward pass."""
        return set(range(-(-time_steps // self.chunk)))

    def backward_chunk(self, chunk: Chunk, passes: Passes) -> None:
        """Back-propagate a chunk's losses."""
        passes.backward((chunk.coefficients * chunk.losses).sum())

    @contextmanager
    def _encoding(self, inputs: Tensor, passes: Passes) -> Iterator[Encode]:
        """Yield the stem. For an image it runs once, and its backward pass follows after all chunks."""
        stem, static = self.network.stem, inputs.dim() == 4
        if not (static and self.encodes_once):
            sequence = inputs.expand(self.network.time_steps, *inputs.shape) if static else inputs
            yield lambda start, steps: stem(sequence[start : start + steps])
            return
        with passes.autocast():
            current = stem(inputs.unsqueeze(0))
            # Its gradient is a sum over time, for which half precision is not enough.
            current = current.to(torch.promote_types(current.dtype, torch.float32))
        leaf = current.detach().requires_grad_(current.requires_grad)
        yield lambda start, steps: leaf.expand(steps, *leaf.shape[1:])
        if current.requires_grad:
            torch.autograd.backward(current, leaf.grad)
