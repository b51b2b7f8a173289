"""The lock on a run directory, so that one job at a time writes to it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sadp_dist.errors import UsageError

LOCK_FILE = ".lock"
PATIENCE = 5.0
"""Seconds to wait for a lock: a process that was just killed may not have ended yet."""
PATIENCE_RESTARTED = 120.0
"""Seconds to wait if an earlier start of the same torchrun job has the lock. NFS servers keep the locks of a
dead machine for about 90 s."""
LOOK_EVERY = 0.1
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)

_held: dict[Path, int] = {}
"""Descriptor of the lock file of each directory that this process has locked."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the lock on a run directory.

    The kernel releases the lock when the process ends, however that happens. A directory that does not exist
    is made; if it is still empty at the end, it is removed. A process that has the lock may take it again.

    Args:
        run_dir: the run directory.

    Raises:
        UsageError: another process holds the lock, or the directory cannot be written.
    """
    key = run_dir.resolve()
    if key in _held:
        yield
        return
    made = [folder for folder in (run_dir, *run_dir.parents) if not folder.exists()]
    try:
        descriptor = _take(run_dir)
    except OSError as error:
        _remove_empty(made)
        raise UsageError(
            f"output={run_dir} cannot be written ({error.strerror}); choose another directory"
        ) from None
    _held[key] = descriptor
    try:
        yield
    finally:
        del _held[key]
        with suppress(OSError):
            (run_dir / LOCK_FILE).unlink()
        os.close(descriptor)
        _remove_empty(made)


def _take(run_dir: Path) -> int:
    """Return the descriptor of the locked file, which has this process in it."""
    path, began = run_dir / LOCK_FILE, time.monotonic()
    while True:
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # another job has just removed the directory, which it had made
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):  # else its holder has just removed it
                _write_holder(descriptor)
                return descriptor
        except BlockingIOError:
            holder = _read_holder(descriptor)
            same_job = holder.get("job") is not None and holder["job"] == _job()
            if time.monotonic() - began > (PATIENCE_RESTARTED if same_job else PATIENCE):
                os.close(descriptor)
                raise UsageError(_refusal(run_dir, holder)) from None
            time.sleep(LOOK_EVERY)
        except OSError as error:
            if error.errno in WITHOUT_LOCKS:
                warnings.warn(
                    f"output={run_dir} is on a file system without locks ({error.strerror}): a second job on "
                    "it is not refused, and would destroy the run; make sure that there is one",
                    stacklevel=2,
                )
                return descriptor
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _job() -> str | None:
    """Return torchrun's name of this job; None if it has none."""
    job = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return None if job == "none" else job


def _write_holder(descriptor: int) -> None:
    holder = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "job": _job(),
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _read_holder(descriptor: int) -> dict[str, Any]:
    with suppress(ValueError):  # not yet written
        holder = json.loads(os.pread(descriptor, 4096, 0))
        if isinstance(holder, dict):
            return holder
    return {}


def _refusal(run_dir: Path, holder: dict[str, Any]) -> str:
    who = "another process"
    if holder:
        who = f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('started')}"
    return (
        f"output={run_dir} is in use by another job ({who}); wait until it has ended or stop it, or set "
        "output=DIR"
    )


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):  # not empty
        for folder in folders:
            folder.rmdir()


def _close_in_child() -> None:
    """Leave the lock to the parent: a worker that outlives it must not keep the lock."""
    for descriptor in _held.values():
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)
