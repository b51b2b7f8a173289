"""The snapshot files of a run in Ray, from which its actor continues after a lost process or node."""

from __future__ import annotations

import os
import posixpath
import tempfile
from contextlib import suppress
from urllib.parse import quote

from fsspec.core import url_to_fs

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store.connection import Unreachable
from sadp_dist.store.engine.snapshot import Snapshot

WHAT_TO_DO = (
    "go on from the last checkpoint with --resume, and set store.snapshot to a folder that all nodes share"
)


def folder_of(run: str, base: str | None) -> str:
    """Return the folder of a run's snapshots, as a path that is valid in every process.

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
    """The numbered snapshots of one actor.

    Args:
        folder: of the run; see `folder_of`.
        token: of the actor's creation. A later actor of the same name has another one, so that it never reads
            the state of an earlier run.
    """

    def __init__(self, folder: str, token: int) -> None:
        self._files, self._folder = url_to_fs(folder)
        self._prefix = f"{token:016x}-"

    def write(self, number: int, snapshot: Snapshot) -> None:
        """Write a file, completely or not at all, and remove all but the two newest files.

        Args:
            number: of the file, larger than those before.
            snapshot: its content.

        Raises:
            Unreachable: it cannot be written now.
        """
        path = self._path(number)
        temporary = posixpath.join(self._folder, f".tmp-{posixpath.basename(path)}")
        try:
            self._files.makedirs(self._folder, exist_ok=True)
            with self._files.open(temporary, "wb") as file:
                snapshot.write(file)
            self._files.mv(temporary, path)
            for old in self._numbers():
                if old < number - 1:
                    self._files.rm_file(self._path(old))
        except Exception as error:  # a file system may raise anything
            raise Unreachable(f"snapshot {path!r} cannot be written: {error}") from error

    def read(self, number: int) -> Snapshot:
        """Return the content of a file.

        Raises:
            StoreUnavailable: it is not there, or damaged.
            Unreachable: it cannot be read now.
        """
        path = self._path(number)
        try:
            with self._files.open(path, "rb") as file:
                return Snapshot.read_from(file, f"snapshot {path!r}")
        except FileNotFoundError:
            raise StoreUnavailable(f"snapshot {path!r} is gone: {WHAT_TO_DO}") from None
        except UsageError as error:
            raise StoreUnavailable(f"{error}: {WHAT_TO_DO}") from error
        except Exception as error:
            raise Unreachable(f"snapshot {path!r} cannot be read: {error}") from error

    def newest(self) -> int | None:
        """Return the number of the newest file; None if there is none.

        Raises:
            Unreachable: the folder cannot be read now.
        """
        try:
            return max(self._numbers(), default=None)
        except Exception as error:
            raise Unreachable(f"snapshots {self._folder!r} cannot be read: {error}") from error

    def remove_older_runs(self) -> None:
        """Remove files of earlier actors of this name; several actors may do so at once."""
        with suppress(OSError):
            for path in self._files.ls(self._folder, detail=False):
                if self._prefix not in posixpath.basename(path):
                    with suppress(OSError):
                        self._files.rm_file(path)

    def remove_folder(self) -> None:
        """Remove all files of the run."""
        with suppress(OSError):
            for path in self._files.ls(self._folder, detail=False):
                with suppress(OSError):
                    self._files.rm_file(path)
            self._files.rmdir(self._folder)

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
