"""Questions to a store that a run has saved; nothing of it can be changed."""

from __future__ import annotations

import contextlib
import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from sadp_dist.atomic_write import TEMPORARY
from sadp_dist.errors import UsageError
from sadp_dist.store.engine.classes import ClassFigures
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.history import EpochRecord
from sadp_dist.store.engine.stats import StoreStats
from sadp_dist.store.view import ReadOnlyStore, Store, on_host
from sadp_dist.store.wire.snapshot import Snapshot

if TYPE_CHECKING:
    from sadp_dist.store.view import Array

FILE_NAME = "store.npz"
LOOKS = 5


def open_snapshot(path: str | PathLike[str]) -> Store:
    """A saved store, to ask questions.

    Args:
        path: a file that `Store.save` wrote, or a folder, such as a run's: then the newest store.npz in it.
            Folders in it whose name begins with .tmp- are unfinished and are skipped.

    Raises:
        UsageError: there is none, or it is not whole.
    """
    path = Path(path)
    if not path.is_dir():
        return SavedStore(path)
    for _ in range(LOOKS):  # a run that goes on removes its old checkpoints, perhaps the one just found
        newest = newest_in(path)
        if newest is None:
            continue
        try:
            return SavedStore(newest)
        except UsageError:
            if newest.exists():
                raise
    raise UsageError(f"path={str(path)!r} holds no {FILE_NAME}: a run with a checkpoint is needed")


def newest_in(folder: Path) -> Path | None:
    """The newest store.npz in a folder, as `open_snapshot` takes it; None if there is none."""
    found: list[tuple[int, Path]] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY)]
        if FILE_NAME in files:
            with contextlib.suppress(FileNotFoundError):
                found.append((os.stat(Path(parent, FILE_NAME)).st_mtime_ns, Path(parent, FILE_NAME)))
    return max(found)[1] if found else None


class SavedStore(ReadOnlyStore):
    """The engine as it was when it was saved.

    Args:
        path: the file.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = path
        self._engine = Engine.from_snapshot(Snapshot.read(path))

    def history(self) -> list[EpochRecord]:
        return self._engine.history()

    def classes(self) -> ClassFigures | None:
        return self._engine.classes()

    def stats(self) -> StoreStats:
        return self._engine.stats()

    def top(
        self, k: int, lowest: bool = False, by: str = "score"
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return self._engine.top(k, lowest, by)

    def scores(self, indices: Array) -> NDArray[np.float32]:
        return self._engine.scores(on_host(indices))

    def _refuse(self, call: str) -> NoReturn:
        raise UsageError(
            f"{call}() on {str(self._path)!r}: a saved store can only be read; connect() and load() it"
        )
