"""Pushes of a rank that wait to be sent to the rank with the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadp_dist.store.engine.run import Records


@dataclass(frozen=True)
class Parcel:
    """The records of several pushes, in one pair of arrays.

    Attributes:
        contents: (epoch, pushes, records) of each part, in the order of the arrays.
        indices: (n,) int64.
        scores: (n,) float32.
    """

    contents: list[tuple[int, int, int]]
    indices: NDArray[np.int64]
    scores: NDArray[np.float32]

    def unpack(self) -> Iterator[tuple[Records, int]]:
        """Yield the records of each epoch, and how many pushes they came in."""
        start = 0
        for epoch, pushes, count in self.contents:
            part = slice(start, start + count)
            yield Records(self.indices[part], self.scores[part], epoch), pushes
            start += count


class Outbox:
    """Keeps copies of records, because the caller of `push` may reuse their memory."""

    def __init__(self) -> None:
        self._pushes: dict[int, list[Records]] = {}

    def add(self, records: Records) -> None:
        """Keep a copy of one push."""
        copied = Records(records.indices.copy(), records.scores.copy(), records.epoch)
        self._pushes.setdefault(records.epoch, []).append(copied)

    def pack(self) -> Parcel:
        """Return everything, one part for each epoch; it stays here until `clear`."""
        pushes = [push for of_epoch in self._pushes.values() for push in of_epoch]
        return Parcel(
            [
                (epoch, len(of_epoch), sum(len(push.indices) for push in of_epoch))
                for epoch, of_epoch in self._pushes.items()
            ],
            np.concatenate([np.empty(0, np.int64), *(push.indices for push in pushes)]),
            np.concatenate([np.empty(0, np.float32), *(push.scores for push in pushes)]),
        )

    def clear(self) -> None:
        """Drop everything."""
        self._pushes.clear()
