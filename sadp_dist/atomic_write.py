"""Files that appear under their name whole or not at all, also when the process or the machine stops."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sadp_dist.errors import UsageError

TEMPORARY = ".tmp-"
"""How the name of an unfinished file or folder begins."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and move it to `path` when the block ends without an error.

    The file is on disk before it gets its name, and the name is on disk before this returns. An error in
    the block removes the temporary file and leaves `path` as it was. A killed process leaves the temporary
    file; the next write of the same path overwrites it.

    Args:
        path: the file to write; one that exists is replaced. Its folder must exist.

    Raises:
        UsageError: another process is writing the same path.
    """
    temporary = temporary_beside(path)
    with temporary.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{path} is being written by another process; wait until it has ended, or choose another name"
            ) from None
        os.utime(lock.fileno(), ns=(0, 0))  # tells whether the block writes it
        try:
            yield temporary
            if temporary.stat().st_mtime_ns == 0:
                raise FileNotFoundError(f"{temporary} was not written")
            fsync(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    fsync(path.parent)


def temporary_beside(path: Path) -> Path:
    """The name of `path` while it is unfinished, in the same folder: a rename across disks is not atomic."""
    return path.with_name(f"{TEMPORARY}{path.name}")


def fsync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
