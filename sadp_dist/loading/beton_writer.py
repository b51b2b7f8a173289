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

import numpy as np
from numpy.typing import NDArray

from sadp_dist.atomic_write import atomic_write
from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.loading.ffcv_import import importing_ffcv
from sadp_dist.loading.file_description import BetonDescription, example_fingerprint

try:
    with importing_ffcv():
        from ffcv.fields.base import Field
        from ffcv.memory_allocator import MemoryAllocator
        from ffcv.writer import DatasetWriter, handle_sample
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
    description: BetonDescription,
) -> None:
    """Write a .beton. The file gets its name when it is complete.

    Args:
        examples: a map-style dataset; an example is a tuple of the fields' values.
        fields: FFCV's fields, in the order of the tuple: the one that is stored in pages, label and index.
        out: the file to write; an existing file is replaced.
        workers: the number of processes, by default the number of cores.
        progress: called repeatedly with the number of examples written since its last call.
        description: goes into the file, with the fingerprint of what was written.

    Raises:
        UsageError: an example cannot be stored, or its label is not that of one of the classes.
    """
    workers = min(workers or len(os.sched_getaffinity(0)), -(-len(examples) // CHUNK))
    with atomic_write(out) as temporary:
        writer = _Writer(str(temporary), fields, workers, description, progress)
        writer.from_indexed_dataset(examples, chunksize=CHUNK)


class _Writer(DatasetWriter):
    """FFCV's writer, with a description of the file.

    FFCV's would also wait for ever for a process that died; this one stops with the reason.
    """

    def __init__(
        self,
        file: str,
        fields: Mapping[str, Field],
        workers: int,
        description: BetonDescription,
        progress: Callable[[int], None] | None,
    ) -> None:
        super().__init__(file, fields, num_workers=workers)
        self._description = description
        self._total = 0  # of the fingerprints of the examples
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
        # FFCV starts its pages at the first multiple of their size; it does not read what lies before.
        room = len(self._description.to_bytes())
        allocator = MemoryAllocator(self.fname, self.data_region_start + room, self.page_size)
        shared = (work, self.metadata_sm, self.metadata_type, self.fields, allocator, done, allocations)
        processes = [
            Process(target=_write_chunks, args=(failures, *shared, *extra_worker_args), daemon=True)
            for _ in range(self.num_workers)
        ]
        try:
            for process in processes:
                process.start()
            collected = self._collect(allocations, processes, failures, done)
            self._describe()
            self.finalize(collected)
        finally:
            for process in processes:
                if process.pid is not None:
                    process.terminate()
                    process.join()
            work.cancel_join_thread()
            self.metadata_sm.close()
            self.metadata_sm.unlink()

    def _describe(self) -> None:
        """Write the description between the table of metadata and the first page."""
        rows: NDArray[Any] = np.frombuffer(self.metadata_sm.buf, self.metadata_type, self.num_samples)
        labels = rows["f1"]
        lowest, highest, classes = int(labels.min()), int(labels.max()), self._description.classes
        del labels, rows  # the shared memory can only be closed without it
        if classes is not None and not 0 <= lowest <= highest < len(classes):
            raise UsageError(
                f"source: has labels from {lowest} to {highest}, but {len(classes)} class names; label k "
                "must be classes[k]"
            )
        with open(self.fname, "r+b") as file:
            file.seek(self.data_region_start)
            file.write(self._description.with_fingerprint(self._total).to_bytes())

    def _collect(self, allocations: Any, processes: list[Process], failures: Any, done: Any) -> list[Any]:
        collected: list[Any] = []
        finished = reported = 0
        while finished < len(processes):
            try:
                allocated, total = allocations.get(timeout=0.1)
                collected += allocated
                self._total += total
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
        _write_and_add(*work)
    except Exception as error:
        if "page size" in str(error):
            error = UsageError(
                "an image takes more than 8 MiB; give max_side, or image_format 'jpg' or 'smart'"
            )
        failures.put(error)
        sys.exit(1)


def _write_and_add(
    work: Any,
    metadata_memory: Any,
    metadata_type: np.dtype[Any],
    fields: Mapping[str, Field],
    allocator: Any,
    done: Any,
    allocations: Any,
    examples: Any,
) -> None:
    """FFCV's `worker_job_indexed_dataset`, which also adds up the fingerprints of the examples."""
    metadata = np.frombuffer(metadata_memory.buf, metadata_type)
    total = 0
    with allocator:
        while (chunk := work.get()) is not None:
            for place, index in chunk:
                handle_sample(examples[index], place, metadata_type.names, metadata, allocator, fields)
                total += example_fingerprint(_stored_last(allocator), _facts(metadata[place]))
            with done.get_lock():
                done.value += len(chunk)
    allocations.put((allocator.allocations, total))


def _stored_last(allocator: Any) -> NDArray[np.uint8]:
    """Return the bytes of the newest example, which are still in the page that is being filled."""
    _, _, size = allocator.allocations[-1]
    stored: NDArray[np.uint8] = allocator.page_data[allocator.page_offset - size : allocator.page_offset]
    return stored


def _facts(row: Any) -> list[int]:
    """Return an example's metadata as integers: its size where it has one, label and index; no address."""
    stored, *rest = row.item()
    size = stored[:-1] if isinstance(stored, tuple) else ()
    return [int(value) for value in (*size, *rest)]
