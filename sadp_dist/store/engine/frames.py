"""What travels between a rank and a store in another process, as bytes: frames one way, shards the other.

A frame holds scores or figures. It is little-endian: a header of 48 bytes, then the content.

    bytes   what
    4       "SADP"
    1       version, 1
    1       kind: 4 or 8 for scores (bytes of an index), 0 for figures
    2       pushes refused on the rank since its last frame
    8       token of the run; see `engine.service`
    8       client: which process sends
    8       sequence: the client's count of frames, from 1
    4       epoch of the scores or figures
    4       pushes that the scores came in; 0 for figures
    4       count of scores or figures, n
    4       CRC-32 of all other bytes
    n x 4|8 indices, unsigned
    n x 4   scores, float32
  or
    n x 56  figures: name, at most 48 bytes of ASCII padded with 0, and value, float64

A shard is little-endian: a header of 64 bytes and two arrays.

    bytes   what
    4       "SADS"
    2       version, 1
    2       bytes of an index, 4 or 8
    4       epoch
    4       CRC-32 of all other bytes
    8       count of examples, n
    8       S, subset size in the weights
    8       N, dataset size
    8       number of examples of all shards
    8       pruning ratio, float64
    8       zero
    n x 4|8 indices, unsigned
    n x 8   weights, float64

Nothing is unpickled, and no array is larger than the bytes that came.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.plan import Shard
from sadp_dist.store.engine.run import (
    LONGEST_NAME,
    MAX_FIGURES,
    Figures,
    Records,
    check_epoch,
    check_figures,
    check_values,
)

MAGIC, VERSION = b"SADP", 1
MAX_COUNT = 2**20
REASONS = ("truncated", "oversized", "not a frame", "version", "checksum", "foreign run", "values")

_FIGURE = np.dtype([("name", f"S{LONGEST_NAME}"), ("value", "<f8")])
_LARGEST = {4: (8, MAX_COUNT), 8: (12, MAX_COUNT), 0: (_FIGURE.itemsize, MAX_FIGURES)}
"""Kind -> bytes of one item, and the largest number of items."""
_HEADER = struct.Struct("<4sBBHQQQIIII")
_CRC = slice(_HEADER.size - 4, _HEADER.size)

SHARD_MAGIC, SHARD_VERSION = b"SADS", 1
_SHARD_HEADER = struct.Struct("<4sHHIIQQQQdQ")
_SHARD_CRC = slice(12, 16)


@dataclass(frozen=True)
class Frame:
    """Scores or figures of one epoch from one process.

    Attributes:
        client: which process, 64 random bits.
        sequence: its count of frames, from 1; a frame that is sent again keeps its number.
        pushes: number of pushes that the scores came in.
        content: the scores or figures. The indices of a frame to be sent may be as narrow as on the wire.
        rejected: pushes that this process has refused since its last frame, at most 65,535.
    """

    client: int
    sequence: int
    pushes: int
    content: Records | Figures
    rejected: int = 0

    @property
    def count(self) -> int:
        """The number of scores."""
        return len(self.content.indices) if isinstance(self.content, Records) else 0


class BadFrame(ValueError):
    """Bytes that are not a frame of this run; the message is one of `REASONS`."""


def index_dtype(dataset_size: int) -> np.dtype[Any]:
    """Return the dtype of an index on the wire, as narrow as the dataset allows."""
    return np.dtype("<u4" if dataset_size <= 2**32 else "<u8")


def encode(frame: Frame, token: int, dataset_size: int) -> bytes:
    """Return a frame as bytes.

    Args:
        frame: at most `MAX_COUNT` scores, or `MAX_FIGURES` figures.
        token: of the run.
        dataset_size: N, which decides how wide an index is.
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
    rejected = min(frame.rejected, 2**16 - 1)
    numbers = frame.client, frame.sequence, frame.content.epoch, frame.pushes, count
    return _with_checksum(_HEADER.pack(MAGIC, VERSION, kind, rejected, token, *numbers, 0), _CRC, *payload)


def decode(data: bytes | memoryview, token: int, dataset_size: int) -> Frame:
    """Return the frame in some bytes, with scores or figures that are valid.

    Raises:
        BadFrame: the bytes are not a frame of this run; the message is the reason.
    """
    data = memoryview(data)
    if len(data) < _HEADER.size:
        raise BadFrame("truncated")
    magic, version, kind, rejected, theirs, *numbers, _ = _HEADER.unpack_from(data)
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
    if data[_CRC] != _checksum(data[: _HEADER.size], _CRC, data[_HEADER.size :]):
        raise BadFrame("checksum")
    if theirs != token:
        raise BadFrame("foreign run")
    content: Records | Figures
    try:
        if kind == 0:
            content = _figures(np.frombuffer(data, _FIGURE, count, _HEADER.size), epoch, pushes)
        else:
            indices = np.frombuffer(data, f"<u{kind}", count, _HEADER.size)
            scores = np.frombuffer(data, "<f4", count, _HEADER.size + count * kind)
            content = check_values(indices, scores, check_epoch(epoch), dataset_size)
    except UsageError:
        raise BadFrame("values") from None
    return Frame(client, sequence, pushes, content, rejected)


def encode_shard(shard: Shard) -> bytes:
    """Return a shard as bytes."""
    dtype = index_dtype(shard.dataset_size)
    sizes = len(shard.indices), shard.subset_size, shard.dataset_size, shard.drawn
    header = _SHARD_HEADER.pack(
        SHARD_MAGIC, SHARD_VERSION, dtype.itemsize, shard.epoch, 0, *sizes, shard.ratio, 0
    )
    payload = shard.indices.astype(dtype).data, np.ascontiguousarray(shard.weights, "<f8").data
    return _with_checksum(header, _SHARD_CRC, *payload)


def shard_bytes(start: bytes) -> int:
    """Return the length of the shard whose bytes start with these, at least a header.

    Raises:
        ValueError: this is not a shard.
    """
    if len(start) < _SHARD_HEADER.size:
        raise ValueError("it is cut short")
    magic, version, width, _, _, count, *_ = _SHARD_HEADER.unpack_from(start)
    if magic != SHARD_MAGIC or width not in (4, 8):
        raise ValueError("it is not a shard")
    if version != SHARD_VERSION:
        raise ValueError(f"it is of version {version}, here {SHARD_VERSION}")
    return int(_SHARD_HEADER.size + count * (width + 8))


def decode_shard(data: bytes) -> Shard:
    """Return the shard in some bytes.

    Raises:
        ValueError: they are not a shard, or damaged.
    """
    if len(data) != shard_bytes(data):
        raise ValueError("its length is wrong")
    start, view = _SHARD_HEADER.size, memoryview(data)
    if view[_SHARD_CRC] != _checksum(view[:start], _SHARD_CRC, view[start:]):
        raise ValueError("its checksum is wrong")
    _, _, width, epoch, _, count, subset_size, dataset_size, drawn, ratio, _ = _SHARD_HEADER.unpack_from(data)
    indices = np.frombuffer(data, f"<u{width}", count, start).astype(np.int64)
    weights = np.frombuffer(data, "<f8", count, start + count * width).copy()
    return Shard(indices, weights, subset_size, dataset_size, ratio, epoch, drawn)


def _with_checksum(header: bytes, crc: slice, *payload: bytes | memoryview) -> bytes:
    """Header and payload, with the CRC-32 in its place in the header."""
    return b"".join((header[: crc.start], _checksum(header, crc, *payload), header[crc.stop :], *payload))


def _checksum(header: bytes | memoryview, crc: slice, *payload: bytes | memoryview) -> bytes:
    """The CRC-32 of all bytes but its own, as four bytes."""
    checksum = zlib.crc32(header[crc.stop :], zlib.crc32(header[: crc.start]))
    for part in payload:
        checksum = zlib.crc32(part, checksum)
    return checksum.to_bytes(4, "little")


def _figures(rows: NDArray[Any], epoch: int, pushes: int) -> Figures:
    """Figures from the wire.

    Raises:
        UsageError: they are not valid.
    """
    values = check_figures({name.decode("latin-1"): value for name, value in rows.tolist()})
    if len(values) < len(rows) or pushes:
        raise UsageError("figures are named twice, or pushed")
    return Figures(check_epoch(epoch), values)
