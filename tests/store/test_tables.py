"""An engine over several tables of scores answers as over one."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.selection import PruningConfig
from sadp_dist.selection.parts import BLOCK, LocalParts, split
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Run
from sadp_dist.store.engine.table import ScoreTable
from sadp_dist.store.engine.validation import Records
from sadp_dist.store.wire.snapshot import Snapshot

N = 6 * BLOCK + 100
RUN = Run(
    "test",
    N,
    PruningConfig(ratio=0.4, epochs=9, min_probability=0.2, stratify="class-score", seed=3),
    np.arange(N) % 7,
)


def engine_of(tables: int) -> Engine:
    return Engine(RUN, LocalParts([ScoreTable(r, N, RUN.labels[r.start : r.stop]) for r in split(N, tables)]))


def push(engine: Engine, epoch: int, share: float = 0.5) -> None:
    rng = np.random.default_rng(epoch)
    indices = rng.permutation(N)[: int(share * N)]
    for some in np.array_split(indices, 5):
        engine.apply(Records(some, rng.lognormal(size=len(some)).astype(np.float32).round(1), epoch))


def assert_same_answers(engine: Engine, expected: Engine) -> None:
    figures, expected_figures = (
        dataclasses.replace(e.stats(), shards=0, memory_bytes=0).to_dict() for e in (engine, expected)
    )
    assert figures == expected_figures
    for lowest in (False, True):
        for found, expected_found in zip(engine.top(300, lowest), expected.top(300, lowest), strict=True):
            np.testing.assert_array_equal(found, expected_found)
    some = np.random.default_rng(0).integers(0, N, 1000)
    np.testing.assert_array_equal(engine.scores(some), expected.scores(some))


def assert_same_shards(engine: Engine, expected: Engine, epoch: int) -> None:
    for world_size in (1, 2, 4):
        for rank in range(world_size):
            found, expected_found = (e.shard(epoch, rank, world_size) for e in (engine, expected))
            np.testing.assert_array_equal(found.indices, expected_found.indices)
            np.testing.assert_array_equal(found.weights, expected_found.weights)
            assert (found.drawn, found.subset_size) == (expected_found.drawn, expected_found.subset_size)


@pytest.mark.parametrize("tables", [1, 2, 3, 7])
def test_several_tables_answer_as_one(tables):
    one, several = Engine(RUN), engine_of(tables)
    assert several.stats().shards == tables
    assert_same_answers(several, one)
    for epoch in (0, 1, 2):
        for engine in (one, several):
            push(engine, epoch)
        assert_same_answers(several, one)
        assert_same_shards(several, one, epoch + 1)
        assert_same_answers(several, one)
    assert_same_shards(several, one, 2)


@pytest.mark.parametrize(("saved_from", "loaded_into"), [(3, 1), (1, 3), (2, 7)])
def test_what_is_saved_from_so_many_tables_goes_on_in_so_many_others(saved_from, loaded_into):
    saved, loaded, expected = engine_of(saved_from), engine_of(loaded_into), Engine(RUN)
    for engine in (saved, expected):
        push(engine, 0)
        engine.plan(1)
        push(engine, 1, share=0.2)
    loaded.restore(Snapshot.from_bytes(saved.snapshot().to_bytes(), "the snapshot"))
    assert_same_answers(loaded, expected)
    assert_same_shards(loaded, expected, 1)
    for engine in (loaded, expected):
        push(engine, 1, share=0.3)
    assert_same_shards(loaded, expected, 2)
    assert_same_answers(loaded, expected)


def test_no_more_than_two_plans_are_kept_anywhere():
    engine = engine_of(3)
    push(engine, 0, share=1.0)
    sizes = []
    for epoch in range(1, 6):
        engine.plan(epoch)
        sizes.append(engine.stats().memory_bytes)
        assert [engine.has_plan(e) for e in range(epoch + 1)] == [
            e >= max(epoch - 1, 1) for e in range(epoch + 1)
        ]
    assert sizes[0] < sizes[1] == pytest.approx(sizes[4], rel=0.01)
    one = Engine(RUN)
    assert one.stats().memory_bytes == N * 16  # a score, its epoch, the one before, a label


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, N - 1), max_size=20), st.integers(1, 7))
def test_examples_are_found_in_whichever_table_they_are(indices, tables):
    engine = engine_of(tables)
    values = np.arange(len(indices), dtype=np.float32)
    for index, value in zip(indices, values, strict=True):
        engine.apply(Records(np.array([index]), np.array([value]), 0))
    latest = dict(zip(indices, values.tolist(), strict=True))
    np.testing.assert_array_equal(engine.scores(list(latest)), list(latest.values()))
    assert engine.stats().seen == len(latest)
