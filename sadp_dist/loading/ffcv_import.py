"""What FFCV's import does to the whole process is undone here, and what it compiles each time is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numba
import torch
from numba.core.dispatcher import Dispatcher
from numba.typed import typeddict


@contextmanager
def importing_ffcv() -> Iterator[None]:
    """Around FFCV's imports: threads stay as they are, also after an error, and the second time is quick.

    FFCV sets the thread counts of torch and numba, once. It also fills a dictionary of numba's, whose code
    would be compiled anew in every process, for two seconds and more.
    """
    torch_threads, numba_threads = torch.get_num_threads(), numba.get_num_threads()
    with suppress(RuntimeError):  # nothing can be written where numba keeps what is compiled
        for function in vars(typeddict).values():
            if isinstance(function, Dispatcher):
                function.enable_caching()
    try:
        yield
    finally:
        torch.set_num_threads(torch_threads)
        numba.set_num_threads(numba_threads)
