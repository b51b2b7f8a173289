"""Find the images of a source that cannot be read."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor

from sadp_dist.data.image_source import DamagedImage, ImageSource

CHUNK = 64
"""Images that a process decodes at a time."""

NAMED = 3
"""Damaged images that a message names."""


def find_damaged(
    images: ImageSource,
    workers: int | None = None,
    most: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[int, str]:
    """Decode every image, in several processes, and return the damaged ones.

    `images.without(found)` leaves them out and lists them in `left_out`.

    Args:
        images: the images.
        workers: the number of processes, by default the number of cores.
        most: stop when this many are found; they are the first ones. None finds all.
        progress: called repeatedly with the number of images decoded since its last call.

    Returns:
        The reason for each damaged image, by index, in ascending order.
    """
    chunks = [range(start, min(start + CHUNK, len(images))) for start in range(0, len(images), CHUNK)]
    workers = min(workers or len(os.sched_getaffinity(0)), max(len(chunks), 1))
    found: dict[int, str] = {}
    fork = multiprocessing.get_context("fork")  # as the processes that write a .beton
    with ProcessPoolExecutor(workers, fork, _start, (images,)) as pool:
        try:
            for chunk, damaged in zip(chunks, pool.map(_damage, chunks), strict=True):
                found.update(damaged)
                if progress is not None:
                    progress(len(chunk))
                if most is not None and len(found) >= most:
                    break
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return dict(list(found.items())[:most])


def damaged_error(images: ImageSource, found: Mapping[int, str]) -> DamagedImage:
    """Return the error that names the first damaged images with their reasons.

    Args:
        images: the images.
        found: what `find_damaged` returned; not empty.
    """
    first = [f"{images.paths[index]} ({reason})" for index, reason in list(found.items())[:NAMED]]
    more = f" and {len(found) - NAMED:,} more" if len(found) > NAMED else ""
    what = "image" if len(found) == 1 else "images"
    error = DamagedImage(
        f"{images.name}: {what} {', '.join(first)}{more} cannot be read; replace or remove "
        f"{'it' if len(found) == 1 else 'them'}"
    )
    error.reason = next(iter(found.values()))
    return error


_images: ImageSource


def _start(images: ImageSource) -> None:
    global _images
    _images = images
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C


def _damage(chunk: range) -> dict[int, str]:
    reasons = {index: _images.damage(index) for index in chunk}
    return {index: reason for index, reason in reasons.items() if reason is not None}
