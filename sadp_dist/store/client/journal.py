"""What a rank has sent since its latest plan, to be sent again to a backend that has lost it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection.table import ScoreTable
from sadp_dist.store.engine.frames import MAX_COUNT, Frame
from sadp_dist.store.engine.run import Figures, Records


class Journal:
    """Frames in the order in which they were sent, frames of figures last, in bounded memory.

    Args:
        dataset_size: N. Beyond 3 N scores, those that later or larger ones replace are dropped.
        combines: the rule combines a score with the scores of earlier epochs. Then each epoch counts, and
            only a larger score of the same epoch replaces one: at most N scores of each epoch are kept.
    """

    def __init__(self, dataset_size: int, combines: bool = False) -> None:
        self._dataset_size = dataset_size
        self._condense = _each_epoch if combines else _two_latest
        self._room = 3 * dataset_size
        self._frames: list[Frame] = []
        self._figures: dict[int, Frame] = {}
        self._count = 0

    def add(self, frame: Frame) -> None:
        if isinstance(frame.content, Figures):
            self._figures[frame.content.epoch] = frame
            return
        self._frames.append(frame)
        self._count += frame.count
        if self._count > self._room + MAX_COUNT:
            self._frames = _condensed(self._frames, self._dataset_size, self._condense)
            self._count = sum(frame.count for frame in self._frames)
            self._room = max(3 * self._dataset_size, self._count + self._dataset_size)

    def take(self) -> list[Frame]:
        """Return all frames, and empty the journal."""
        frames = [*self._frames, *self._figures.values()]
        self.clear()
        return frames

    def forget(self, before_epoch: int) -> None:
        """Drop frames of earlier epochs."""
        self._frames = [frame for frame in self._frames if frame.content.epoch >= before_epoch]
        self._figures = {epoch: frame for epoch, frame in self._figures.items() if epoch >= before_epoch}
        self._count = sum(frame.count for frame in self._frames)

    def clear(self) -> None:
        self._frames, self._figures, self._count = [], {}, 0


def _condensed(
    frames: list[Frame], dataset_size: int, condense: Callable[[Sequence[Records], int], Iterable[ScoreTable]]
) -> list[Frame]:
    """Fewer frames that leave a store with the same scores and previous scores.

    They keep the latest sequence numbers, so the counts of pushes become approximate.
    """
    records = [frame.content for frame in frames if isinstance(frame.content, Records)]
    tables = list(condense(records, dataset_size))
    pushes: dict[int, int] = {}
    for frame in frames:
        pushes[frame.content.epoch] = pushes.get(frame.content.epoch, 0) + frame.pushes
    parts = []
    for epoch in sorted(pushes):
        found = [(table, np.flatnonzero(table.score_epochs == epoch)) for table in tables]
        indices = np.concatenate([mine for _, mine in found]).astype(records[0].indices.dtype)
        scores = np.concatenate([table.scores[mine] for table, mine in found])
        for start in range(0, len(indices), MAX_COUNT):
            part = slice(start, start + MAX_COUNT)
            parts.append((Records(indices[part], scores[part], epoch), pushes.pop(epoch, 0)))
    kept = frames[len(frames) - len(parts) :]
    return [
        replace(frame, content=content, pushes=count)
        for frame, (content, count) in zip(kept, parts, strict=True)
    ]


def _two_latest(records: Sequence[Records], dataset_size: int) -> Iterable[ScoreTable]:
    """The scores of each example's latest two epochs."""
    latest = _merged(records, dataset_size)
    return _merged(_of_before(records, latest.score_epochs), dataset_size), latest


def _each_epoch(records: Sequence[Records], dataset_size: int) -> Iterable[ScoreTable]:
    """The scores of every epoch."""
    for epoch in {some.epoch for some in records}:
        yield _merged((some for some in records if some.epoch == epoch), dataset_size)


def _merged(records: Iterable[Records], dataset_size: int) -> ScoreTable:
    table = ScoreTable.empty(dataset_size)
    for some in records:
        table.merge(some.indices, some.scores, some.epoch)
    return table


def _of_before(records: Sequence[Records], latest: NDArray[np.int32]) -> Iterator[Records]:
    """The records without the scores of each example's latest epoch."""
    for indices, scores, epoch in records:
        earlier = latest[indices] > epoch
        yield Records(indices[earlier], scores[earlier], epoch)
