"""FFCV sets the thread counts of torch and numba for the whole process, once at its import: undone here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch


@contextmanager
def keep_thread_counts() -> Iterator[None]:
    """Give torch and numba back the numbers of threads they had, also after an error."""
    torch_threads, numba_threads = torch.get_num_threads(), numba.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(torch_threads)
        numba.set_num_threads(numba_threads)
