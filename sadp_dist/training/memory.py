"""The memory of a rank, for the record of an epoch."""

from __future__ import annotations

import resource
from pathlib import Path

import torch


def memory_figures(device: torch.device) -> dict[str, int]:
    """Return bytes of this process's memory: resident, and on its GPU allocated now and at the peak.

    It asks the system and torch's allocator, and does not wait for the device.
    """
    figures = {"resident_bytes": resident_bytes()}
    if device.type == "cuda":
        figures["gpu_allocated_bytes"] = torch.cuda.memory_allocated(device)
        figures["gpu_peak_bytes"] = torch.cuda.max_memory_allocated(device)
    return figures


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes, with pages that it shares with others."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux: the peak, in KiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()
