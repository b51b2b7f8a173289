"""The peak memory of this process, as counted by Linux."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_bytes() -> int:
    """Return the memory of this process now, and restart the count of the peak."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free is not held
    _RESET.write_text("5")
    return _of("VmRSS")


def peak_bytes() -> int:
    """Return the peak since `resident_bytes`."""
    return _of("VmHWM")


def _of(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise LookupError(name)
