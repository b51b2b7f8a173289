"""A batch of scores as bytes: what travels from a rank to a store in another process.

A frame is little-endian, a header of 48 bytes and two arrays:

    bytes   what
    4       "SADP"
    1       version, 1
    1       bytes of an index, 4 or 8
    2       pushes that were refused before they came into a frame
    8       origin: which run, and since when
    8       client: which process
    8       sequence: the client's count of frames, from 1
    4       epoch of the scores
    4       pushes that the scores came in
    4       count of scores, n
    4       CRC-32 of all other bytes
    n x 4|8 indices, unsigned
    n x 4   scores, float32

Nothing is unpickled, and nothing is made larger than the frame itself says and is.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from sadp_dist.errors import UsageError
from sadp_dist.store.records import Records, check_records

MAGIC = b"SADP"
VERSION = 1
MAX_COUNT = 2**20
REASONS = ("truncated", "oversized", "not a frame", "version", "checksum", "foreign run", "values")

_HEADER = struct.Struct("<4sBBHQQQIIII")
_BEFORE_CRC = _HEADER.size - 4


@dataclass(frozen=True)
class Frame:
    """Scores of one epoch from one process.

    Attributes:
        client: which process, a random number of 64 bits.
        sequence: its count of frames, from 1; one that was sent again has the same.
        pushes: how many pushes the scores came in.
        records: the scores. Of a frame to be sent the indices may be as narrow as on the wire.
        rejected: pushes that this process has refused since its last frame, 65,535 at most.
    """

    client: int
    sequence: int
    pushes: int
    records: Records
    rejected: int = 0

    @property
    def count(self) -> int:
        return len(self.records.indices)


class BadFrame(ValueError):
    """Bytes that are not a frame of this run; the message is one of `REASONS`."""


def index_dtype(dataset_size: int) -> np.dtype[Any]:
    """Of an index on the wire, as narrow as the dataset allows."""
    return np.dtype("<u4" if dataset_size <= 2**32 else "<u8")


def encode(frame: Frame, origin: int, dataset_size: int) -> bytes:
    """A frame as bytes, with indices as wide as the dataset needs.

    Args:
        frame: at most `MAX_COUNT` scores.
        origin: of the run.
        dataset_size: N.
    """
    indices, scores, epoch = frame.records
    dtype = index_dtype(dataset_size)
    payload = np.ascontiguousarray(indices, dtype).data, np.ascontiguousarray(scores, "<f4").data
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        dtype.itemsize,
        min(frame.rejected, 2**16 - 1),
        origin,
        frame.client,
        frame.sequence,
        epoch,
        frame.pushes,
        len(indices),
        0,
    )[:_BEFORE_CRC]
    checksum = zlib.crc32(payload[1], zlib.crc32(payload[0], zlib.crc32(header)))
    return b"".join((header, checksum.to_bytes(4, "little"), *payload))


def decode(data: bytes | memoryview, origin: int, dataset_size: int) -> Frame:
    """The frame in some bytes, with records that are good to store.

    Raises:
        BadFrame: they are no frame of this run, for the reason that the message names.
    """
    data = memoryview(data)
    if len(data) < _HEADER.size:
        raise BadFrame("truncated")
    magic, version, width, rejected, theirs, *numbers, checksum = _HEADER.unpack_from(data)
    client, sequence, epoch, pushes, count = numbers
    if magic != MAGIC:
        raise BadFrame("not a frame")
    if version != VERSION:
        raise BadFrame("version")
    if width not in (4, 8):
        raise BadFrame("not a frame")
    size = _HEADER.size + count * (width + 4)
    if count > MAX_COUNT or len(data) > size:
        raise BadFrame("oversized")
    if len(data) < size:
        raise BadFrame("truncated")
    if zlib.crc32(data[_HEADER.size :], zlib.crc32(data[:_BEFORE_CRC])) != checksum:
        raise BadFrame("checksum")
    if theirs != origin:
        raise BadFrame("foreign run")
    indices = np.frombuffer(data, f"<u{width}", count, _HEADER.size)
    scores = np.frombuffer(data, "<f4", count, _HEADER.size + count * width)
    try:
        records = check_records(indices, scores, epoch, dataset_size)
    except UsageError:
        raise BadFrame("values") from None
    return Frame(client, sequence, pushes, records, rejected)
