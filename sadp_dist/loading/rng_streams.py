"""The streams of random numbers that loading draws from; `selection.random.Stream` has the lower numbers."""

from __future__ import annotations

from enum import IntEnum


class LoadingStream(IntEnum):
    AUGMENT = 16
    CROP = 17
    TRANSFORM = 18
    PAGE = 19
    MIX = 20
    AUTOAUGMENT = 21
