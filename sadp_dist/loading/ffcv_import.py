"""Undo what FFCV does to the whole process when it is imported and used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numba
import torch
from numba.core.dispatcher import Dispatcher
from numba.typed import typeddict


@contextmanager
def importing_ffcv() -> Iterator[None]:
    """Import FFCV in this block: it leaves thread counts alone, and takes 4 s only the first time.

    FFCV's import fills a dictionary of numba's, and each process that writes or decodes images reads it. The
    code for both would be compiled in every process; in this block it comes from numba's cache on disk.
    """
    functions = [function for function in vars(typeddict).values() if isinstance(function, Dispatcher)]
    caches = [function._cache for function in functions]  # type: ignore[attr-defined]
    with suppress(RuntimeError):  # numba finds no folder that it may write its cache to
        for function in functions:
            function.enable_caching()
    try:
        with thread_counts_kept():
            yield
            if (images := sys.modules.get("ffcv.fields.rgb_image")) is not None:
                images.IMAGE_MODES["raw"]
    finally:
        for function, cache in zip(functions, caches, strict=True):
            function._cache = cache  # type: ignore[attr-defined]


@contextmanager
def thread_counts_kept() -> Iterator[None]:
    """Put the thread counts of torch, numba and FFCV's compiler back after the block, also after an error."""
    torch_threads, numba_threads, compiler_threads = torch.get_num_threads(), numba.get_num_threads(), None
    compiler = sys.modules.get("ffcv.pipeline.compiler")
    if compiler is not None:
        compiler_threads = compiler.Compiler.num_threads
    try:
        yield
    finally:
        torch.set_num_threads(torch_threads)
        numba.set_num_threads(numba_threads)
        if compiler is not None:
            compiler.Compiler.num_threads = compiler_threads
