"""A batch of scores, or an epoch's figures, as bytes: what travels from a rank to a store in another process.

A frame is little-endian, a header of 48 bytes and what is in it:

    bytes   what
    4       "SADP"
    1       version, 1
    1       what is in it: 4 or 8, scores with indices of as many bytes; 0, figures
    2       pushes that were refused before they came into a frame
    8       origin: which run, and since when
    8       client: which process
    8       sequence: the client's count of frames, from 1
    4       epoch of the scores or figures
    4       pushes that the scores came in; of figures 0
    4       count of scores or figures, n
    4       CRC-32 of all other bytes
    n x 4|8 indices, unsigned
    n x 4   scores, float32
  or
    n x 56  figures: a name of at most 48 bytes of ASCII, filled up with 0, and a value, float64

Nothing is unpickled, and nothing is made larger than the frame itself says and is.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.store.engine.history import LONGEST_NAME, MAX_FIGURES, Figures, check_figures
from sadp_dist.store.engine.validation import Records, check_epoch, check_records

MAGIC = b"SADP"
VERSION = 1
MAX_COUNT = 2**20
REASONS = ("truncated", "oversized", "not a frame", "version", "checksum", "foreign run", "values")

_FIGURE = np.dtype([("name", f"S{LONGEST_NAME}"), ("value", "<f8")])
_LARGEST = {4: (8, MAX_COUNT), 8: (12, MAX_COUNT), 0: (_FIGURE.itemsize, MAX_FIGURES)}
"""What is in a frame -> the bytes of one of them, and how many there are at most."""

_HEADER = struct.Struct("<4sBBHQQQIIII")
_BEFORE_CRC = _HEADER.size - 4


@dataclass(frozen=True)
class Frame:
    """Scores or figures of one epoch from one process.

    Attributes:
        client: which process, a random number of 64 bits.
        sequence: its count of frames, from 1; one that was sent again has the same.
        pushes: how many pushes the scores came in.
        content: the scores or figures. Of a frame to be sent the indices may be as narrow as on the wire.
        rejected: pushes that this process has refused since its last frame, 65,535 at most.
    """

    client: int
    sequence: int
    pushes: int
    content: Records | Figures
    rejected: int = 0

    @property
    def count(self) -> int:
        """Of scores."""
        return len(self.content.indices) if isinstance(self.content, Records) else 0


class BadFrame(ValueError):
    """Bytes that are not a frame of this run; the message is one of `REASONS`."""


def index_dtype(dataset_size: int) -> np.dtype[Any]:
    """Of an index on the wire, as narrow as the dataset allows."""
    return np.dtype("<u4" if dataset_size <= 2**32 else "<u8")


def encode(frame: Frame, origin: int, dataset_size: int) -> bytes:
    """A frame as bytes, with indices as wide as the dataset needs.

    Args:
        frame: at most `MAX_COUNT` scores, or `MAX_FIGURES` figures.
        origin: of the run.
        dataset_size: N.
    """
    payload: tuple[bytes | memoryview, ...]
    if isinstance(frame.content, Figures):
        kind, count = 0, len(frame.content.values)
        payload = (np.array(list(frame.content.values.items()), _FIGURE).tobytes(),)
    else:
        dtype = index_dtype(dataset_size)
        kind, count = dtype.itemsize, frame.count
        indices, scores, _ = frame.content
        payload = np.ascontiguousarray(indices, dtype).data, np.ascontiguousarray(scores, "<f4").data
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        kind,
        min(frame.rejected, 2**16 - 1),
        origin,
        frame.client,
        frame.sequence,
        frame.content.epoch,
        frame.pushes,
        count,
        0,
    )[:_BEFORE_CRC]
    checksum = zlib.crc32(header)
    for part in payload:
        checksum = zlib.crc32(part, checksum)
    return b"".join((header, checksum.to_bytes(4, "little"), *payload))


def decode(data: bytes | memoryview, origin: int, dataset_size: int) -> Frame:
    """The frame in some bytes, with records or figures that are good to store.

    Raises:
        BadFrame: they are no frame of this run, for the reason that the message names.
    """
    data = memoryview(data)
    if len(data) < _HEADER.size:
        raise BadFrame("truncated")
    magic, version, kind, rejected, theirs, *numbers, checksum = _HEADER.unpack_from(data)
    client, sequence, epoch, pushes, count = numbers
    if magic != MAGIC:
        raise BadFrame("not a frame")
    if version != VERSION:
        raise BadFrame("version")
    if kind not in _LARGEST:
        raise BadFrame("not a frame")
    item, most = _LARGEST[kind]
    size = _HEADER.size + count * item
    if count > most or len(data) > size:
        raise BadFrame("oversized")
    if len(data) < size:
        raise BadFrame("truncated")
    if zlib.crc32(data[_HEADER.size :], zlib.crc32(data[:_BEFORE_CRC])) != checksum:
        raise BadFrame("checksum")
    if theirs != origin:
        raise BadFrame("foreign run")
    content: Records | Figures
    try:
        if kind == 0:
            content = _figures(np.frombuffer(data, _FIGURE, count, _HEADER.size), epoch, pushes)
        else:
            indices = np.frombuffer(data, f"<u{kind}", count, _HEADER.size)
            scores = np.frombuffer(data, "<f4", count, _HEADER.size + count * kind)
            content = check_records(indices, scores, epoch, dataset_size)
    except UsageError:
        raise BadFrame("values") from None
    return Frame(client, sequence, pushes, content, rejected)


def _figures(rows: NDArray[Any], epoch: int, pushes: int) -> Figures:
    """Figures from the wire.

    Raises:
        UsageError: they are not good to keep.
    """
    values = check_figures({name.decode("latin-1"): value for name, value in rows.tolist()})
    if len(values) < len(rows) or pushes:
        raise UsageError("figures are named twice, or pushed")
    return Figures(check_epoch(epoch), values)
