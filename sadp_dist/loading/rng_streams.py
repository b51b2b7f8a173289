"""The random number streams of loading. `selection.random.Stream` has the lower numbers."""

from __future__ import annotations

from enum import IntEnum


class LoadingStream(IntEnum):
    """What the random numbers are for; each stream is independent of the others."""

    AUGMENT = 16
    CROP = 17
    TRANSFORM = 18
    PAGE = 19
    MIX = 20
    AUTOAUGMENT = 21
