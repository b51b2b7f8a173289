"""Write a .beton with several processes, whole or not at all."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from ctypes import c_uint64
from multiprocessing import Process, Queue, SimpleQueue, Value
from pathlib import Path
from queue import Empty
from typing import Any

from sadp_dist.atomic_write import atomic_write
from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.loading.ffcv_import import importing_ffcv

try:
    with importing_ffcv():
        from ffcv.fields.base import Field
        from ffcv.memory_allocator import MemoryAllocator
        from ffcv.writer import DatasetWriter, worker_job_indexed_dataset
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error

CHUNK = 100
"""Examples that a process takes from the queue at a time."""


def check_writing(out: str | Path, workers: int | None) -> Path:
    """Return `out` as a path, after checking it and the number of processes.

    Raises:
        UsageError: `workers` is less than 1, or `out` cannot be a file.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"workers={workers}: must be at least 1")
    path = Path(out).expanduser()
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"out={str(path)!r}: must be a file in an existing folder")
    return path


def write_examples(
    examples: Any,
    fields: Mapping[str, Field],
    out: Path,
    workers: int | None,
    progress: Callable[[int], None] | None,
) -> None:
    """Write a .beton. The file gets its name when it is complete.

    Args:
        examples: a map-style dataset; an example is a tuple of the fields' values.
        fields: FFCV's fields, in the order of the tuple.
        out: the file to write; an existing file is replaced.
        workers: the number of processes, by default the number of cores.
        progress: called repeatedly with the number of examples written since its last call.
    """
    workers = min(workers or len(os.sched_getaffinity(0)), -(-len(examples) // CHUNK))
    with atomic_write(out) as temporary:
        writer = _Writer(str(temporary), fields, num_workers=workers, progress=progress)
        writer.from_indexed_dataset(examples, chunksize=CHUNK)


class _Writer(DatasetWriter):
    """FFCV's writer, which would wait for ever for a process that died; this one stops with the reason."""

    def __init__(self, *args: Any, progress: Callable[[int], None] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._progress = progress or (lambda written: None)

    def _write_common(
        self, num_samples: int, queue_content: Iterable[Any], work_fn: Any, extra_worker_args: tuple[Any, ...]
    ) -> None:
        self.num_samples = num_samples
        self.prepare()
        work: Queue[Any] = Queue()
        for chunk in [*queue_content, *[None] * self.num_workers]:
            work.put(chunk)
        done = Value(c_uint64, 0)
        allocations: Queue[Any] = Queue()
        failures: SimpleQueue[Exception] = SimpleQueue()
        allocator = MemoryAllocator(self.fname, self.data_region_start, self.page_size)
        shared = (work, self.metadata_sm, self.metadata_type, self.fields, allocator, done, allocations)
        processes = [
            Process(target=_write_chunks, args=(failures, *shared, *extra_worker_args), daemon=True)
            for _ in range(self.num_workers)
        ]
        try:
            for process in processes:
                process.start()
            self.finalize(self._collect(allocations, processes, failures, done))
        finally:
            for process in processes:
                if process.pid is not None:
                    process.terminate()
                    process.join()
            work.cancel_join_thread()
            self.metadata_sm.close()
            self.metadata_sm.unlink()

    def _collect(self, allocations: Any, processes: list[Process], failures: Any, done: Any) -> list[Any]:
        collected: list[Any] = []
        finished = reported = 0
        while finished < len(processes):
            try:
                collected += allocations.get(timeout=0.1)
                finished += 1
            except Empty:
                died = [process.exitcode for process in processes if process.exitcode not in (None, 0)]
                if not failures.empty():
                    raise failures.get() from None
                if died:
                    raise RuntimeError(
                        f"a process that writes {self.fname} died with exit status {died[0]}"
                    ) from None
            self._progress(int(done.value) - reported)
            reported = int(done.value)
        return collected


def _write_chunks(failures: Any, *work: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    try:
        worker_job_indexed_dataset(*work)
    except Exception as error:
        if "page size" in str(error):
            error = UsageError(
                "an image takes more than 8 MiB; give max_side, or image_format 'jpg' or 'smart'"
            )
        failures.put(error)
        sys.exit(1)
