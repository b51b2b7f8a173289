"""The model of a cluster finds what it was fitted to, and its bytes are those of the arrays that travel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cluster_model import WIRES, embedded_wire, fit, on_cluster, predict, redis_wire
from sadp_dist import PruningConfig, connect
from sadp_dist.store.engine.frames import Frame, encode, encode_shard
from sadp_dist.store.engine.run import Records

seconds = st.floats(1e-4, 1.0)
backends = st.sampled_from(sorted(WIRES))


@given(
    constant=seconds, million=seconds, rank=seconds, size=st.integers(1, 10**9), ranks=st.integers(1, 1024)
)
def test_a_fit_to_the_model_s_own_seconds_is_the_model(constant, million, rank, size, ranks):
    grid = [(n, w) for n in (10**5, 10**6, 10**7) for w in (2, 4, 16)]
    coefficients = fit([(n, w, constant + million * n / 1e6 + rank * w) for n, w in grid])
    expected = constant + million * size / 1e6 + rank * ranks
    assert predict(coefficients, size, ranks) == pytest.approx(expected, rel=1e-6)


@given(st.lists(st.tuples(st.integers(1, 10**7), st.integers(1, 64), seconds), min_size=3, max_size=9))
def test_nothing_takes_less_than_no_time(points):
    assert (fit(points) >= 0).all()


@given(backend=backends, size=st.integers(10**4, 10**9), ranks=st.integers(2, 1024))
def test_more_examples_never_cost_less(backend, size, ranks):
    coefficients = np.array([0.01, 1e-8, 1e-3])
    less, more = (WIRES[backend](n, n / 2, ranks) for n in (size, 2 * size))
    assert more.into >= 2 * less.into > 0 and more.out >= 2 * less.out > 0
    assert on_cluster(backend, coefficients, 2 * size, ranks) > on_cluster(backend, coefficients, size, ranks)
    assert on_cluster(backend, coefficients, size, ranks) > predict(coefficients, size, ranks)


def test_what_rank_0_keeps_does_not_travel():
    assert embedded_wire(1000, 500, 1) == (0, 0, 0, 0)
    assert embedded_wire(1000, 500, 2).into == 500 / 2 * 12


@pytest.mark.parametrize("size", [3000, 2**32 + 1])
def test_the_arrays_bytes_are_those_of_frames_and_shards_without_their_headers(size):
    kept = 1000
    records = Records(np.arange(kept), np.ones(kept, np.float32), 0)
    frame = encode(Frame(1, 1, 1, records), 7, size)
    store = connect("memory:", "wire", 3000, PruningConfig(ratio=0.5, epochs=2, seed=0))
    plan = store.plan(0)
    shard = encode_shard(type(plan)(**{**vars(plan), "dataset_size": size}))
    wire = redis_wire(size, kept, 4)
    assert len(frame) - 48 == wire.into == wire.planner_out
    assert len(shard) - 64 == wire.out * len(plan.indices) / kept


def test_a_snapshot_is_as_large_as_the_file_of_a_run_with_two_plans(tmp_path):
    size = 100_000
    with connect("memory:", "wire", size, PruningConfig(ratio=0.35, epochs=3, seed=0)) as store:
        store.plan(0)
        kept = len(store.plan(1).indices)
        store.save(tmp_path / "store.npz")
    snapshot = redis_wire(size, kept, 4).planner_into - kept * 12
    assert (tmp_path / "store.npz").stat().st_size == pytest.approx(snapshot, rel=0.01)
