"""A shard as bytes: what travels from a planner to a rank.

Little-endian, a header of 64 bytes and two arrays:

    bytes   what
    4       "SADS"
    2       version, 1
    2       bytes of an index, 4 or 8
    4       epoch
    4       CRC-32 of all other bytes
    8       count of examples, n
    8       S, subset size in the weights
    8       N, dataset size
    8       how many examples all shards have together
    8       pruning ratio, float64
    8       zero
    n x 4|8 indices, unsigned
    n x 8   weights, float64
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from sadp_dist.selection.sharding import Shard
from sadp_dist.store.wire.frames import index_dtype

MAGIC = b"SADS"
VERSION = 1

_HEADER = struct.Struct("<4sHHIIQQQQdQ")
_BEFORE_CRC = 12


def encode(shard: Shard) -> bytes:
    """A shard as bytes."""
    dtype = index_dtype(shard.dataset_size)
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        dtype.itemsize,
        shard.epoch,
        0,
        len(shard.indices),
        shard.subset_size,
        shard.dataset_size,
        shard.drawn,
        shard.ratio,
        0,
    )
    payload = shard.indices.astype(dtype).data, np.ascontiguousarray(shard.weights, "<f8").data
    checksum = _checksum(header, *payload)
    return b"".join((header[:_BEFORE_CRC], checksum, header[_BEFORE_CRC + 4 :], *payload))


def field(epoch: int, rank: int, world_size: int, piece: int) -> str:
    """Where in the hash of shards a piece of one is."""
    return f"{epoch}:{world_size}:{rank}:{piece}"


def encoded_size(start: bytes) -> int:
    """How many bytes the shard has that starts with these, at least a header.

    Raises:
        ValueError: this is no shard.
    """
    if len(start) < _HEADER.size:
        raise ValueError("it is cut short")
    magic, version, width, _, _, count, *_ = _HEADER.unpack_from(start)
    if magic != MAGIC or version != VERSION or width not in (4, 8):
        raise ValueError("it is no shard, or one of another version")
    return int(_HEADER.size + count * (width + 8))


def decode(data: bytes) -> Shard:
    """The shard in some bytes.

    Raises:
        ValueError: they are no shard, or damaged.
    """
    if len(data) != encoded_size(data):
        raise ValueError("its length is wrong")
    _, _, width, epoch, _, count, subset_size, dataset_size, drawn, ratio, _ = _HEADER.unpack_from(data)
    if _checksum(data[: _HEADER.size], memoryview(data)[_HEADER.size :]) != data[_BEFORE_CRC:][:4]:
        raise ValueError("its checksum is wrong")
    indices = np.frombuffer(data, f"<u{width}", count, _HEADER.size).astype(np.int64)
    weights = np.frombuffer(data, "<f8", count, _HEADER.size + count * width).copy()
    return Shard(indices, weights, subset_size, dataset_size, ratio, epoch, drawn)


def _checksum(header: bytes, *payload: memoryview) -> bytes:
    checksum = zlib.crc32(header[_BEFORE_CRC + 4 :], zlib.crc32(header[:_BEFORE_CRC]))
    for part in payload:
        checksum = zlib.crc32(part, checksum)
    return checksum.to_bytes(4, "little")
