"""Where time, batch and tokens lie in what a layer sees.

A spiking network runs its T time steps in one of three ways, and a layer sees accordingly

    multi-step     [T, B, ...]
    single-step    [B, ...], in T calls of which each is one time step
    flattened      [T * B, ...], time outermost, as in SpikingJelly's SeqToANNContainer

where a linear layer over tokens has their dimension(s) next: [T, B, N, D], [B, N, D], [T * B, N, D].
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

from sadp_dist.errors import UsageError


@dataclass(frozen=True)
class Layout:
    """The leading dimensions of one call of a layer are T * B * N values in the order (time, batch, token)."""

    time: int
    batch: int
    tokens: int


def find_layout(
    rows: tuple[int, ...], batch: int, *, layer: str, step_mode: str | None = None, time_steps: int | None = None
) -> Layout:
    """Tells the layout from the leading dimensions.

    Args:
        rows: the layer's input shape without its feature dimensions.
        batch: B, the number of examples.
        layer: the layer's name, for the messages.
        step_mode: SpikingJelly's "m" ([T, B, ...]) or "s" ([B, ...] or [T * B, ...]); None where a layer has none.
        time_steps: T, where it is known. Without it a shape that reads as [T, B, ...] and as [T * B, N, ...] is taken
            as the former, with a warning.

    Raises:
        UsageError: the shape holds no batch of this size.
    """
    multi = len(rows) > 1 and rows[1] == batch and time_steps in (None, rows[0])
    flat = bool(rows) and rows[0] % batch == 0 and (time_steps is None or rows[0] in (batch, time_steps * batch))
    if step_mode == "m" and len(rows) > 1:
        flat = False
    elif step_mode == "s" and flat:
        multi = False
    if not (multi or flat):
        steps = "" if time_steps is None else f" and time_steps={time_steps}"
        raise UsageError(
            f"coefficients has {batch} entries{steps}, but layer {layer!r} saw {list(rows)} rows, which is neither "
            f"[T, {batch}, ...] nor [T * {batch}, ...]; give one coefficient per example of the batch"
        )
    if multi and flat and time_steps is None and batch > 1:
        warnings.warn(
            f"layer {layer!r} saw {list(rows)} rows for {batch} examples and is read as [T, B, ...]; "
            "give SpikeAwareScorer time_steps=T to have no doubt",
            stacklevel=4,
        )
    if multi:
        return Layout(rows[0], batch, math.prod(rows[2:]))
    return Layout(rows[0] // batch, batch, math.prod(rows[1:]))
