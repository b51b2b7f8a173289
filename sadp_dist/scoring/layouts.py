"""Where time, batch and tokens lie in what a layer sees.

A spiking network runs its T time steps in one of three ways, and its layers see accordingly

    multi-step     [T, B, ...]
    single-step    [B, ...], in T calls of one time step each
    flattened      [T * B, ...], time outermost, as in SpikingJelly's SeqToANNContainer

and a linear layer over N tokens [T, B, N, D], [B, N, D] or [T * B, N, D].
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

from sadp_dist.errors import UsageError


class Layout(NamedTuple):
    """One call of a layer saw time * batch * tokens rows, in this order."""

    time: int
    batch: int
    tokens: int


def find_layout(
    rows: tuple[int, ...],
    batch: int,
    *,
    layer: str,
    step_mode: str | None = None,
    time_steps: int | None = None,
) -> Layout:
    """Tells the layout from the leading dimensions of a layer's input.

    Args:
        rows: the input's shape without its feature dimensions.
        batch: B, the number of examples.
        layer: the layer's name, for messages.
        step_mode: SpikingJelly's, "m" for [T, B, ...], "s" for [B, ...] or [T * B, ...]; None elsewhere.
        time_steps: T, where it is known. Without it, rows that can be [T, B, ...] and [T * B, N, ...] are
            the former, with a warning; and a divisor of the true B is taken for a flattened batch.

    Raises:
        UsageError: the rows are of no batch of this size.
    """
    first = rows[0] if rows else 0
    multi_step = len(rows) > 1 and rows[1] == batch and time_steps in (None, first)
    flattened = first > 0 and first % batch == 0 and (time_steps is None or first // batch in (1, time_steps))
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
    known = "" if time_steps is None else f" with time_steps={time_steps}"
    raise UsageError(
        f"coefficients has {batch} entries, but layer {layer!r} saw {list(rows)} rows, which{known} is no "
        f"batch of {batch}; give one coefficient for each example that went through the network"
    )
