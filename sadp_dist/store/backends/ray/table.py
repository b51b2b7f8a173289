"""A score table that outlasts its process, and the actor of one where a run has several."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.sharding import Drawn
from sadp_dist.store.backends.ray.creation import Creation
from sadp_dist.store.backends.ray.files import SnapshotFiles
from sadp_dist.store.connection import Unreachable
from sadp_dist.store.engine.table import UNSEEN, ScoreTable, State


class KeptTable(ScoreTable):
    """A table that writes its state to files and comes back to it.

    Args:
        creation: of the run.
        number: of the table's range.
    """

    def __init__(self, creation: Creation, number: int) -> None:
        super().__init__(creation.ranges[number], creation.dataset_size, combine=creation.pruning.combine)
        self._files = SnapshotFiles(creation.folder, creation.token, f"scores{number}")
        self._label_files = SnapshotFiles(creation.folder, creation.token, f"labels{number}")

    def begin_run(self, labels: NDArray[np.integer] | None) -> None:
        """Be empty, with the labels of this range.

        Raises:
            UsageError: the folder for snapshots cannot be written to.
        """
        self.scores.fill(np.nan)
        self.score_epochs.fill(UNSEEN)
        self.scores_before.fill(np.nan)
        self._drawn.clear()
        self._labels = None if labels is None else labels.copy()
        try:
            self._label_files.write(0, {}, **({} if labels is None else {"labels": labels}))
        except Unreachable as problem:  # before anything is at stake
            raise UsageError(f"{problem}; set store.snapshot to a folder that can be") from problem
        self._files.remove_older_runs()

    def restore(
        self,
        scores: NDArray[np.float32],
        score_epochs: NDArray[np.int32],
        scores_before: NDArray[np.float32],
    ) -> None:
        """See `ScoreTable.restore`; copied, since what comes through Ray cannot be written to."""
        super().restore(scores.copy(), score_epochs.copy(), scores_before.copy())

    def take(self, epoch: int, drawn: Drawn) -> None:
        """See `Part.take`; copied, since Ray would hold on to its memory."""
        positions = None if drawn.positions is None else drawn.positions.copy()
        super().take(epoch, Drawn(positions, drawn.indices.copy(), drawn.weights.copy()))

    def write(self, number: int, plans: Sequence[int]) -> None:
        """Write a snapshot: the state, and what is drawn in the plans of some epochs."""
        arrays = {
            f"{field}{epoch}": array
            for epoch in plans
            for field, array in self.drawn(epoch)._asdict().items()
            if array is not None
        }
        self._files.write(number, {"plans": list(plans)}, **self.state()._asdict(), **arrays)

    def read(self, number: int) -> None:
        """Come back to what `write` wrote."""
        header, arrays = self._files.read(number)
        super().restore(*State.of(arrays))
        for epoch in header["plans"]:
            positions = arrays.get(f"positions{epoch}")
            super().take(epoch, Drawn(positions, arrays[f"indices{epoch}"], arrays[f"weights{epoch}"]))
        if self._labels is None:
            self._labels = self._label_files.read(0)[1].get("labels")

    def remove_files(self) -> None:
        """Remove what this machine, or the shared folder, has of the run."""
        self._files.remove_folder()


class TableLost(Unreachable):
    """A table's actor has started anew since it was last used, or does not answer."""


class TableActor:
    """One of several tables of a run, for the run's actor alone, which hears when this one starts anew."""

    def __init__(self, creation: Creation, number: int) -> None:
        self._table = KeptTable(creation, number)
        self._pass = 0

    def admit(self) -> int:
        """Let the caller in, and nobody else from now on: not the run's actor as it was before a fault."""
        self._pass = secrets.randbits(63)
        return self._pass

    def call(self, admitted: int, method: str, *arguments: Any) -> Any:
        """Call a method of the table.

        Raises:
            TableLost: this process has not admitted the caller, or another one since.
        """
        if admitted != self._pass:
            raise TableLost("a table of the run has started anew")
        return getattr(self._table, method)(*arguments)
