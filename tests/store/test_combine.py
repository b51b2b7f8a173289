"""A rule that combines scores over epochs: repeats, order and a backend that lost scores change nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.selection import RULES, PruningConfig, Rule
from sadp_dist.store import StoreOptions
from sadp_dist.store.client import journal
from sadp_dist.store.client.journal import Journal
from sadp_dist.store.client.remote import RemoteStore
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.frames import Frame
from sadp_dist.store.engine.run import Records, Run
from sadp_dist.store.engine.snapshot import Snapshot
from tests.store.nearby import Backend, Nearby

N = 300
PLACES = [0, 7, 150, 151, 298, 299]
EPOCHS = 6


class HalfOfBefore(Rule):
    """s <- s / 2 + new * (epoch + 1), from 0."""

    def combine(self, before, new, epoch):
        assert self.config.method == "half of before"
        return np.nan_to_num(before) / 2 + new * (epoch + 1)

    def probabilities(self, table, subset_size, epoch):
        return np.full(len(table), subset_size / len(table))


@pytest.fixture(scope="module", autouse=True)
def rule() -> Iterator[None]:
    RULES["half of before"] = HalfOfBefore
    yield
    del RULES["half of before"]


def a_run(n: int = N) -> Run:
    return Run("combining", n, PruningConfig(epochs=EPOCHS, method="half of before"))


def expected_scores(pushed: list[dict[int, list[float]]], before: int | None = None) -> dict[int, float]:
    """What is left of the pushes of every epoch, written down example by example."""
    scores: dict[int, float] = {}
    for epoch, of_examples in enumerate(pushed[:before]):
        for example, given_scores in of_examples.items():
            scores[example] = scores.get(example, 0.0) / 2 + max(given_scores) * (epoch + 1)
    return scores


PUSHES = st.lists(
    st.dictionaries(st.sampled_from(PLACES), st.lists(st.integers(0, 64), min_size=1, max_size=3)),
    min_size=1,
    max_size=EPOCHS,
)


@settings(max_examples=40)
@given(PUSHES, st.randoms(use_true_random=False))
def test_repeats_and_order_change_nothing(pushed, chance):
    engine = Engine(a_run())
    for epoch, of_examples in enumerate(pushed):
        pairs = [(i, score) for i, scores in of_examples.items() for score in scores] * 2
        chance.shuffle(pairs)
        cut = chance.randrange(len(pairs) + 1)
        for some in (pairs[:cut], pairs[cut:], pairs[:cut]):
            indices = np.array([i for i, _ in some], np.int64)
            engine.apply(Records(indices, np.array([score for _, score in some], np.float32), epoch))
        if epoch == 1:  # and through a file
            engine = Engine.from_snapshot(Snapshot.from_bytes(engine.snapshot().to_bytes(), "it"))
            if epoch < len(pushed) and pairs:
                i, score = pairs[0]
                engine.apply(Records(np.array([i]), np.array([score], np.float32), epoch))
    found = engine.scores(PLACES)
    expected = expected_scores(pushed)
    np.testing.assert_array_equal(found, [np.float32(expected.get(i, np.nan)) for i in PLACES])


def test_a_journal_keeps_what_every_epoch_gave(monkeypatch):
    monkeypatch.setattr(journal, "MAX_COUNT", 50)
    n, chance = 40, np.random.default_rng(0)
    kept, expected, again = Journal(n, combines=True), Engine(a_run(n)), Engine(a_run(n))
    for sequence in range(1, 200):
        indices, scores = chance.integers(0, n, 30), chance.integers(0, 64, 30).astype(np.float32)
        records = Records(indices, scores, sequence * EPOCHS // 200)
        kept.add(Frame(1, sequence, 1, records))
        expected.apply(records)
        assert kept._count <= 50 + (EPOCHS + 1) * n
    frames = kept.take()
    assert sum(frame.count for frame in frames) <= 50 + (EPOCHS + 1) * n < 199 * 30 / 3
    for frame in frames:
        again.apply(frame.content)
    np.testing.assert_array_equal(again.scores(range(n)), expected.scores(range(n)))


def test_a_backend_that_lost_what_came_after_the_plan_gets_the_same_scores_again():
    n = 300
    backend = Backend(a_run(n))
    with RemoteStore(Nearby(backend), a_run(n), StoreOptions(timeout=60)) as store:
        for epoch in range(4):
            store.plan(epoch)
            store.push(np.arange(n), np.full(n, 8.0), epoch)
            store.flush()
            if epoch == 2:
                backend.restart()
        expected = expected_scores([{i: [8.0] for i in range(n)}] * 4)
        np.testing.assert_array_equal(store.scores(np.arange(n)), list(expected.values()))
