"""Views of saved stores."""

from __future__ import annotations

import contextlib
import os
from os import PathLike
from pathlib import Path

from sadp_dist.atomic_write import TEMPORARY
from sadp_dist.errors import UsageError
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.snapshot import Snapshot
from sadp_dist.store.view import RunView

FILE_NAME = "store.npz"
LOOKS = 5


def open_snapshot(path: str | PathLike[str]) -> RunView:
    """Return a view of a saved store.

    Args:
        path: a file that `Store.save` wrote, or a folder, such as a run's: then the newest store.npz in it.
            Folders in it whose name begins with .tmp- are unfinished and are skipped.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        return _view_of(path)
    for _ in range(LOOKS):  # a running job removes old checkpoints, perhaps the one just found
        newest = newest_in(path)
        if newest is None:
            continue
        try:
            return _view_of(newest)
        except UsageError:
            if newest.exists():
                raise
    raise UsageError(f"path={str(path)!r} holds no {FILE_NAME}: a run with a checkpoint is needed")


def newest_in(folder: Path) -> Path | None:
    """Return the newest store.npz in a folder, as `open_snapshot` finds it; None if there is none."""
    found: list[tuple[int, Path]] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY)]
        if FILE_NAME in files:
            with contextlib.suppress(FileNotFoundError):
                found.append((os.stat(Path(parent, FILE_NAME)).st_mtime_ns, Path(parent, FILE_NAME)))
    return max(found)[1] if found else None


def _view_of(path: Path) -> RunView:
    return RunView(Engine.from_snapshot(Snapshot.read(path)).answer)
