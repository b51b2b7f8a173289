"""Finds the dimensions of time, batch and tokens in the input of a layer.

A spiking network runs its T time steps in one of three ways. A layer's input is then

    multi-step     [T, B, ...]
    single-step    [B, ...], in T calls of one time step each
    flattened      [T * B, ...], time outermost, as in SpikingJelly's SeqToANNContainer, or [B * T, ...]

The input of a linear layer over N tokens is [T, B, N, D], [B, N, D] or [T * B, N, D]. Layers that do not
depend on time, such as the first layers for an image, may have one call with [1, B, ...] or [B, ...].

A layer's rows do not determine B: 8 rows are a batch of 8, or 2 time steps of a batch of 4. The network's
input does: it is not flattened unless `time_steps` is given. Time is outermost in flattened rows if the
network's input is [T, B, ...], and in a SeqToANNContainer; otherwise it has to be said.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Literal, NamedTuple

from torch import Tensor, nn

from sadp_dist.errors import UsageError

Outermost = Literal["time", "batch"]
"""The outermost dimension of rows that have both."""


class Layout(NamedTuple):
    """The sizes of the dimensions time, batch and tokens of a layer's rows, and which is outermost."""

    time: int
    batch: int
    tokens: int
    outermost: Outermost = "time"

    def apply(self, x: Tensor, rows: int) -> Tensor:
        """Return x, whose first `rows` dimensions are a layer's rows, as [time, batch, tokens, ...]."""
        features = x.shape[rows:]
        if self.outermost == "batch":
            return x.reshape(self.batch, self.time, self.tokens, *features).transpose(0, 1)
        return x.reshape(self.time, self.batch, self.tokens, *features)


def flattened_by_containers(model: nn.Module) -> set[nn.Module]:
    """Return the modules inside of SpikingJelly's SeqToANNContainer, whose rows are [T * B, ...]."""
    containers = [each for each in model.modules() if type(each).__name__ == "SeqToANNContainer"]
    return {module for container in containers for module in container.modules()}


def input_time_steps(
    shapes: Iterable[tuple[int, ...]], batch: int, time_steps: int | None = None
) -> int | None:
    """Return T from the shape of a network's input [T, B, ...]; None for [B, ...] or [1, B, ...].

    Args:
        shapes: of the network's input tensors. One of them must have the batch dimension.
        batch: B, the number of examples.
        time_steps: T, if it is known; then an input may also be [T * B, ...].

    Raises:
        UsageError: no input has a batch of this size.
    """
    for shape in shapes:
        first, second = (*shape, 0)[:2]
        if first == batch or (time_steps is not None and first == time_steps * batch):
            return None
        if second == batch and (time_steps is None or first in (1, time_steps)):
            return first if first > 1 else None
    took = " and ".join(str(list(shape)) for shape in shapes)
    raise UsageError(
        f"coefficients has {batch} entries, but the network's input {took}{_known(time_steps)} is not a "
        f"batch of {batch}; give one coefficient per example, and pass time_steps=T to SpikeAwareScorer if "
        "the input is [T * B, ...]"
    )


def find_layout(
    rows: tuple[int, ...],
    batch: int,
    *,
    layer: str,
    step_mode: str | None = None,
    time_steps: int | None = None,
    input_steps: int | None = None,
    outermost: Outermost | None = None,
    flattened_time_first: bool = False,
) -> Layout:
    """Return the layout of a layer's input from its leading dimensions.

    Args:
        rows: shape of the input without its feature dimensions.
        batch: B, the number of examples.
        layer: name of the layer, for messages.
        step_mode: of SpikingJelly: "m" for [T, B, ...], "s" for [B, ...] or [T * B, ...]; None for others.
        time_steps: T, if it is known: every layer has 1 or T time steps. Without it, rows that can be
            [T, B, ...] or [T * B, N, ...] count as the former, with a warning.
        input_steps: result of `input_time_steps`: a flattened layer has 1 or T time steps. Without
            `time_steps` and `input_steps`, a divisor of the true B counts as a flattened batch.
        outermost: whether time or batch comes first, if it was said.
        flattened_time_first: whether it is known that flattened rows are [T * B, ...].

    Raises:
        UsageError: the rows are not a batch of this size, or flattened in an unknown order.
    """
    first = rows[0] if rows else 0
    multi_step = len(rows) > 1 and rows[1] == batch and (time_steps is None or first in (1, time_steps))
    steps = input_steps if time_steps is None else time_steps
    flattened = first > 0 and first % batch == 0 and (steps is None or first // batch in (1, steps))
    if step_mode == "m" and len(rows) > 1:
        flattened = False
    elif flattened and (step_mode == "s" or outermost == "batch"):
        multi_step = False
    if multi_step and flattened and time_steps is None and outermost is None and batch > 1:
        warnings.warn(
            f"layer {layer!r} has {list(rows)} rows for {batch} examples, which count as [T, B, ...]; pass "
            'layout="time" or "batch", the first of both, to SpikeAwareScorer to be sure',
            stacklevel=2,
        )
    if multi_step:
        return Layout(first, batch, math.prod(rows[2:]))
    if flattened:
        steps = first // batch
        order = outermost or ("time" if flattened_time_first else None)
        if steps > 1 and batch > 1 and order is None:
            raise UsageError(
                f"layer {layer!r} has {list(rows)} rows for {batch} examples, {steps} for each, in an "
                'unknown order; pass layout="time" to SpikeAwareScorer if they are [T * B, ...], '
                'layout="batch" if they are [B * T, ...]'
            )
        return Layout(steps, batch, math.prod(rows[1:]), order or "time")
    raise UsageError(
        f"coefficients has {batch} entries, but layer {layer!r} has {list(rows)} rows, which"
        f"{_known(time_steps)} is not a batch of {batch}; give one coefficient per example of the batch"
    )


def _known(time_steps: int | None) -> str:
    return "" if time_steps is None else f" with time_steps={time_steps}"
