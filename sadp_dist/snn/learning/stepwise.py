"""Learning while time goes on: a backward pass after each chunk of time steps, and no graph beyond it."""

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
"""What the stem makes of so many time steps from a first one on, [steps, B, ...]."""


class Chunk(NamedTuple):
    """Some time steps, after their forward pass.

    Attributes:
        logits: [steps, B, K].
        losses: (B,) of the output, times `share`.
        labels: (B,).
        coefficients: (B,) c_i.
        share: the chunk's time steps over T.
    """

    logits: Tensor
    losses: Tensor
    labels: Tensor
    coefficients: Tensor
    share: float


class StepwiseRule(LearningRule):
    """Goes through time in chunks. Neurons keep their potentials from one to the next, but not the graph.

    The loss of a sequence is the mean over its time steps, so a chunk of k counts k/T. Memory is that of one
    chunk, whatever T is; what stays of all T are logits [T, B, K].
    """

    step_by_step: ClassVar[bool] = True

    encodes_once: ClassVar[bool] = True
    """Whether what the stem makes of an image is computed once for all time steps, and its gradient too."""

    def __init__(self, config: LearningConfig, context: LearningContext) -> None:
        super().__init__(config, context)
        for name, module in context.network.named_modules():
            if not getattr(module, "stepwise", True):
                raise UsageError(
                    f"learning.rule={config.rule} goes step by step; {type(module).__name__} ({name}) "
                    "takes all time steps at once: use learning.rule=bptt, other neurons or another network"
                )
        self.at_work: list[AbstractContextManager[object]] = []
        """What is entered while a micro-batch is learned, such as traces and cuts."""

    @property
    def chunk(self) -> int:
        return 1

    def learn(
        self, inputs: Tensor, labels: Tensor, coefficients: Tensor, passes: Passes, key: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        T = self.context.time_steps if inputs.dim() == 4 else len(inputs)
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
        """The numbers of the chunks that have a backward pass."""
        return set(range(-(-time_steps // self.chunk)))

    def backward_chunk(self, chunk: Chunk, passes: Passes) -> None:
        """Back-propagate a chunk's losses."""
        passes.backward((chunk.coefficients * chunk.losses).sum())

    @contextmanager
    def _encoding(self, inputs: Tensor, passes: Passes) -> Iterator[Encode]:
        """The stem. Of an image it is computed once; chunks add up its gradient, which goes down at last."""
        stem, static = self.network.stem, inputs.dim() == 4
        if not (static and self.encodes_once):
            sequence = inputs.expand(self.context.time_steps, *inputs.shape) if static else inputs
            yield lambda start, steps: stem(sequence[start : start + steps])
            return
        with passes.autocast():
            current = stem(inputs.unsqueeze(0))
            # Its gradient is a sum over time, which half precision is too coarse for.
            current = current.to(torch.promote_types(current.dtype, torch.float32))
        leaf = current.detach().requires_grad_(current.requires_grad)
        yield lambda start, steps: leaf.expand(steps, *leaf.shape[1:])
        if current.requires_grad:
            torch.autograd.backward(current, leaf.grad)
