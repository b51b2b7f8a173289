"""Where time, batch and tokens lie in what a layer sees.

A spiking network runs its T time steps in one of three ways, and its layers see accordingly

    multi-step     [T, B, ...]
    single-step    [B, ...], in T calls of one time step each
    flattened      [T * B, ...], time outermost, as in SpikingJelly's SeqToANNContainer

and a linear layer over N tokens [T, B, N, D], [B, N, D] or [T * B, N, D]. What does not depend on time, such
as the first layers for an image, may see [1, B, ...] or [B, ...] once.

The rows of a layer alone do not tell B: 8 are a batch of 8, or 2 time steps of a batch of 4. What the network
took does, for nobody flattens that unless `time_steps` says so.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import NamedTuple

from sadp_dist.errors import UsageError


class Layout(NamedTuple):
    """One call of a layer saw time * batch * tokens rows, in this order."""

    time: int
    batch: int
    tokens: int


def input_time_steps(
    shapes: Iterable[tuple[int, ...]], batch: int, time_steps: int | None = None
) -> int | None:
    """T as the shape of a network's input [T, B, ...] tells it; None where that is [B, ...] or [1, B, ...].

    Args:
        shapes: of the tensors that the network took; one that is of the batch is enough.
        batch: B, the number of examples.
        time_steps: T, where it is known; then an input may be [T * B, ...], too.

    Raises:
        UsageError: none is of a batch of this size.
    """
    for shape in shapes:
        first, second = (*shape, 0)[:2]
        if first == batch or (time_steps is not None and first == time_steps * batch):
            return None
        if second == batch and (time_steps is None or first in (1, time_steps)):
            return first if first > 1 else None
    took = " and ".join(str(list(shape)) for shape in shapes)
    raise UsageError(
        f"coefficients has {batch} entries, but the network took {took}, which{_known(time_steps)} is no "
        f"batch of {batch}; give one coefficient for each example, and SpikeAwareScorer time_steps=T if the "
        "input is [T * B, ...]"
    )


def find_layout(
    rows: tuple[int, ...],
    batch: int,
    *,
    layer: str,
    step_mode: str | None = None,
    time_steps: int | None = None,
    input_steps: int | None = None,
) -> Layout:
    """Tells the layout from the leading dimensions of a layer's input.

    Args:
        rows: the input's shape without its feature dimensions.
        batch: B, the number of examples.
        layer: the layer's name, for messages.
        step_mode: SpikingJelly's, "m" for [T, B, ...], "s" for [B, ...] or [T * B, ...]; None elsewhere.
        time_steps: T, where it is known: no layer sees other than 1 or T time steps. Without it, rows that
            can be [T, B, ...] and [T * B, N, ...] are the former, with a warning.
        input_steps: what `input_time_steps` found: no layer sees other than 1 or T flattened time steps.
            Without both, a divisor of the true B is taken for a flattened batch.

    Raises:
        UsageError: the rows are of no batch of this size.
    """
    first = rows[0] if rows else 0
    multi_step = len(rows) > 1 and rows[1] == batch and (time_steps is None or first in (1, time_steps))
    steps = input_steps if time_steps is None else time_steps
    flattened = first > 0 and first % batch == 0 and (steps is None or first // batch in (1, steps))
    if step_mode == "m" and len(rows) > 1:
        flattened = False
    elif step_mode == "s" and flattened:
        multi_step = False
    if multi_step and flattened and time_steps is None and batch > 1:
        warnings.warn(
            f"layer {layer!r} saw {list(rows)} rows for {batch} examples, read as [T, B, ...]; "
            "give SpikeAwareScorer time_steps=T to be sure",
            stacklevel=2,
        )
    if multi_step:
        return Layout(first, batch, math.prod(rows[2:]))
    if flattened:
        return Layout(first // batch, batch, math.prod(rows[1:]))
    raise UsageError(
        f"coefficients has {batch} entries, but layer {layer!r} saw {list(rows)} rows, which"
        f"{_known(time_steps)} is no batch of {batch}; give one coefficient for each example that went "
        "through the network"
    )


def _known(time_steps: int | None) -> str:
    return "" if time_steps is None else f" with time_steps={time_steps}"
