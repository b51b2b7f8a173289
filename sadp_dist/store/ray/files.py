"""Where an actor's snapshots lie: the state that it comes back to when its process or its node is lost."""

from __future__ import annotations

import os
import posixpath
import tempfile
from urllib.parse import quote

from fsspec.core import url_to_fs

from sadp_dist.errors import UsageError
from sadp_dist.store.snapshot import Snapshot


def folder_of(run: str, base: str | None) -> str:
    """The folder of a run's snapshots, on a path that means the same in every process.

    Args:
        run: its name, any characters.
        base: folder for all runs, on any path that fsspec reads; None is one for temporary files.

    Raises:
        UsageError: nothing here reads such a path.
    """
    if base is None:
        base = os.path.join(tempfile.gettempdir(), f"sadp_dist-{os.getuid()}")
    try:
        file_system, path = url_to_fs(base)
    except (ValueError, ImportError) as error:
        raise UsageError(f"snapshot={base!r} is not a path that fsspec reads here: {error}") from error
    return str(file_system.unstrip_protocol(posixpath.join(path, f"run-{quote(run, safe='')}")))


class SnapshotFiles:
    """The numbered snapshots of one actor, from its creation to its end.

    Args:
        folder: of the run; see `folder_of`.
        token: of the actor's creation. An actor that was made later under the same name has another, so that
            it never comes back to a state which is not its own.
    """

    def __init__(self, folder: str, token: int) -> None:
        self._files, self._folder = url_to_fs(folder)
        self._prefix = f"{token:016x}-"

    def write(self, number: int, snapshot: Snapshot) -> None:
        """Write a snapshot under a number, whole or not at all, and let go of the earlier ones.

        Raises:
            OSError: it cannot be written.
        """
        self._files.makedirs(self._folder, exist_ok=True)
        path = self._path(number)
        temporary = posixpath.join(self._folder, f".tmp-{posixpath.basename(path)}")
        with self._files.open(temporary, "wb") as file:
            snapshot.write(file)
        self._files.mv(temporary, path)
        for older in self._numbers():
            if older < number:
                self._files.rm_file(self._path(older))

    def newest(self) -> int | None:
        """The number of the newest snapshot, or None."""
        return max(self._numbers(), default=None)

    def read(self, number: int) -> Snapshot:
        """The snapshot of a number.

        Raises:
            UsageError: it is damaged.
        """
        path = self._path(number)
        with self._files.open(path, "rb") as file:
            return Snapshot.read_from(file, f"snapshot {path!r}")

    def remove(self) -> None:
        """Remove the run's folder, with what earlier actors left in it."""
        if self._files.exists(self._folder):
            self._files.rm(self._folder, recursive=True)

    def _path(self, number: int) -> str:
        return posixpath.join(self._folder, f"{self._prefix}{number:08d}.npz")

    def _numbers(self) -> list[int]:
        self._files.invalidate_cache()
        if not self._files.exists(self._folder):
            return []
        names = [posixpath.basename(path) for path in self._files.ls(self._folder, detail=False)]
        return [
            int(name[len(self._prefix) : -len(".npz")]) for name in names if name.startswith(self._prefix)
        ]
