"""Views of saved stores, and how the newest one in a folder is found."""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from sadp_dist.atomic_write import TEMPORARY
from sadp_dist.errors import UsageError
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.snapshot import Snapshot
from sadp_dist.store.view import RunView

FILE_NAME = "store.npz"
CHECKPOINTS = "checkpoints"
"""Folder of a run directory that holds its checkpoints."""
LOOKS = 5
_CHECKPOINT = re.compile(r"e(\d+)-b(\d+)")


def checkpoint_name(epoch: int, batch: int) -> str:
    """Return the name of the checkpoint after so many epochs, and so many batches of the next one."""
    return f"e{epoch:04d}-b{batch:06d}"


def checkpoint_place(folder: Path) -> tuple[int, int] | None:
    """Return epochs and batches of a checkpoint by its name; None if the folder is not a checkpoint."""
    found = _CHECKPOINT.fullmatch(folder.name)
    return None if found is None else (int(found[1]), int(found[2]))


def open_snapshot(path: str | PathLike[str]) -> RunView:
    """Return a view of a saved store.

    Args:
        path: a file that `Store.save` wrote, or a folder, such as a run's: then the newest store.npz in it.
            Of checkpoints, the one with the most epochs and batches in its name is the newest. Of other
            files, it is the one with the latest plan and the most scores. The times of files, which copies
            change, do not matter. Folders whose name begins with .tmp- are unfinished and are skipped.

    Raises:
        UsageError: there is none, it is damaged, or the folder holds the stores of several runs.
    """
    path = Path(path)
    if not path.is_dir():
        return _view_of(path)
    for _ in range(LOOKS):  # a running job removes old checkpoints, perhaps the one just found
        try:
            newest = newest_in(path)
        except FileNotFoundError:
            continue
        if newest is None:
            continue
        try:
            return _view_of(newest)
        except UsageError:
            if newest.exists():
                raise
    raise UsageError(f"path={str(path)!r} holds no {FILE_NAME}: a run with a checkpoint is needed")


def newest_in(folder: Path) -> Path | None:
    """Return the newest store.npz in a folder, as `open_snapshot` finds it; None if there is none.

    Raises:
        UsageError: the folder holds the stores of several runs, or a file other than a checkpoint's is
            damaged.
        FileNotFoundError: a file was removed while this looked.
    """
    own = folder / CHECKPOINTS
    files = _files_in(own) if own.is_dir() else []
    files = files or _files_in(folder)
    named = ((file, checkpoint_place(file.parent)) for file in files)
    found = [_Saved(file.parent.parent, place, file) for file, place in named if place is not None]
    if not found:
        found = [_described(file) for file in files]
    runs = sorted({str(saved.run) for saved in found})
    if len(runs) > 1:
        shown = ", ".join(runs[:4]) + (" and more" if len(runs) > 4 else "")
        raise UsageError(
            f"path={str(folder)!r} holds the stores of {len(runs)} runs ({shown}); give the folder of one"
        )
    return max(found, key=lambda saved: (saved.place, saved.file)).file if found else None


class _Saved(NamedTuple):
    """A saved store.

    Attributes:
        run: what it is of: the folder of its checkpoints, or the name of its run.
        place: how far the run was: epochs and batches, or the latest plan and the scores pushed.
        file: its path.
    """

    run: Path | str
    place: tuple[int, int]
    file: Path


def _files_in(folder: Path) -> list[Path]:
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY)]
        if FILE_NAME in names:
            files.append(Path(parent, FILE_NAME))
    return files


def _described(file: Path) -> _Saved:
    try:
        header = Snapshot.read_header(file)
    except UsageError:
        if not file.exists():
            raise FileNotFoundError(file) from None
        raise
    latest = max((plan["epoch"] for plan in header["plans"]), default=-1)
    return _Saved(header["run"], (latest, header["counters"]["pushed_scores"]), file)


def _view_of(path: Path) -> RunView:
    return RunView(Engine.from_snapshot(Snapshot.read(path)).answer)
