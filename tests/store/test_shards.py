"""Shards as bytes: they come back as they were, or not at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sadp_dist.selection.plan import Shard
from sadp_dist.store.engine.frames import decode_shard, encode_shard, shard_bytes

NUMBERS = st.integers(0, 2**63 - 1)


@st.composite
def shards(draw) -> Shard:
    dataset_size = draw(st.sampled_from([1, 1000, 2**32, 2**40]))
    count = draw(st.integers(0, 20))
    chance = np.random.default_rng(draw(st.integers(0, 99)))
    return Shard(
        indices=chance.integers(dataset_size, size=count),
        weights=chance.lognormal(size=count),
        subset_size=draw(NUMBERS),
        dataset_size=dataset_size,
        ratio=draw(st.floats(0, 1)),
        epoch=draw(st.integers(0, 2**31 - 1)),
        drawn=draw(NUMBERS),
    )


@given(shards())
def test_a_shard_comes_back_bit_for_bit(shard):
    data = encode_shard(shard)
    assert shard_bytes(data[:64]) == len(data)
    back = decode_shard(data)
    assert back.indices.dtype == np.int64 and back.weights.dtype == np.float64
    assert back.indices.tolist() == shard.indices.tolist()
    assert back.weights.tobytes() == shard.weights.tobytes()
    for name in ("subset_size", "dataset_size", "ratio", "epoch", "drawn"):
        assert getattr(back, name) == getattr(shard, name)


@given(shards(), st.data())
def test_a_shard_that_was_changed_or_cut_is_refused(shard, data):
    good = encode_shard(shard)
    position = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[position] ^= data.draw(st.integers(1, 255))
    for bad in (bytes(changed), good[:position], good + b"\0"):
        with pytest.raises(ValueError, match="^it"):
            decode_shard(bad)


@given(st.binary(max_size=200))
def test_other_bytes_are_no_shard(data):
    with pytest.raises(ValueError, match="^it"):
        decode_shard(data)
