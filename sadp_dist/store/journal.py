"""What a rank has sent since its latest plan, to send it again to a home that has lost it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sadp_dist.store.frames import MAX_COUNT, Frame
from sadp_dist.store.records import Records
from sadp_dist.store.table import UNSEEN, merge


class Journal:
    """Frames in the order in which they were sent, in memory that stays bounded.

    Args:
        dataset_size: N. Beyond 2 N scores, those that a later or larger one outdoes are dropped.
    """

    def __init__(self, dataset_size: int) -> None:
        self._dataset_size = dataset_size
        self._frames: list[Frame] = []
        self._count = 0

    def add(self, frame: Frame) -> None:
        self._frames.append(frame)
        self._count += frame.count
        if self._count > 2 * self._dataset_size + MAX_COUNT:
            self._frames = _condensed(self._frames, self._dataset_size)
            self._count = sum(frame.count for frame in self._frames)

    def take(self) -> list[Frame]:
        """All frames; the journal is empty then."""
        frames = self._frames
        self.clear()
        return frames

    def forget(self, before_epoch: int) -> None:
        """Drop the scores of earlier epochs."""
        self._frames = [frame for frame in self._frames if frame.records.epoch >= before_epoch]
        self._count = sum(frame.count for frame in self._frames)

    def clear(self) -> None:
        self._frames, self._count = [], 0


def _condensed(frames: list[Frame], dataset_size: int) -> list[Frame]:
    """Frames that leave a store with the same scores, with one score an example.

    Their sequence numbers are the latest ones, and their counts of pushes are only as good as that.
    """
    scores = np.full(dataset_size, np.nan, np.float32)
    score_epochs = np.full(dataset_size, UNSEEN, np.int32)
    pushes: dict[int, int] = {}
    for frame in frames:
        records = frame.records
        merge(scores, score_epochs, records.indices, records.scores, records.epoch)
        pushes[records.epoch] = pushes.get(records.epoch, 0) + frame.pushes
    dtype = frames[0].records.indices.dtype
    parts = []
    for epoch in np.unique(score_epochs[score_epochs != UNSEEN]).tolist():
        indices = np.flatnonzero(score_epochs == epoch)
        for start in range(0, len(indices), MAX_COUNT):
            part = indices[start : start + MAX_COUNT].astype(dtype)
            parts.append((Records(part, scores[part], epoch), pushes.pop(epoch, 0)))
    latest = frames[len(frames) - len(parts) :]
    return [
        replace(frame, records=records, pushes=count)
        for frame, (records, count) in zip(latest, parts, strict=True)
    ]
