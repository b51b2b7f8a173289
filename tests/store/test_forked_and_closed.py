"""A fork cannot push, and closing a store does not lose what is on its way without a word."""

import os
import signal
import warnings

import numpy as np
import pytest
from torch.utils.data import DataLoader

from sadp_dist import PruningConfig, connect
from sadp_dist.errors import UsageError
from sadp_dist.store.client import remote
from tests.forked import run_forked
from tests.store.redis_server import RedisServer

N = 400_000
PRUNING = PruningConfig(ratio=0.5, epochs=3)
OWN = """
import sys, numpy as np
from sadp_dist import PruningConfig, connect
store = connect(sys.argv[1], "job", 400_000, PruningConfig(ratio=0.5, epochs=3))
for part in np.array_split(np.arange(400_000), 50):
    store.push(part, np.ones(len(part)), epoch=0)
"""


@pytest.fixture
def redis(tmp_path):
    with RedisServer(tmp_path) as server:
        yield server


class Pushing:
    """A dataset that calls the store in the worker that loads an example."""

    def __init__(self, store, call):
        self.store, self.call = store, call

    def __len__(self):
        return 4

    def __getitem__(self, index):
        getattr(self, self.call)(index)
        return index

    def push(self, index):
        self.store.push(np.array([index]), np.array([1.0]), epoch=0)

    def stats(self, index):
        self.store.stats()

    def record(self, index):
        self.store.record(0, {"loss": 1.0})

    def close(self, index):
        self.store.close()


@pytest.mark.parametrize("call", ["push", "stats"])
def test_a_worker_of_a_loader_is_refused_at_once_by_the_embedded_store(call):
    with connect("memory:", "job", N, PRUNING) as store:
        loader = DataLoader(Pushing(store, call), num_workers=2, multiprocessing_context="fork")
        with pytest.raises(UsageError, match="is a fork of .* such as a DataLoader worker"):
            list(loader)


def test_a_worker_of_a_loader_is_refused_at_once_by_redis(redis):
    with connect(redis.url, "job", N, PRUNING, timeout=3600) as store:
        for call in ("push", "stats", "record"):
            loader = DataLoader(Pushing(store, call), num_workers=2, multiprocessing_context="fork")
            with pytest.raises(UsageError, match="push them in the training loop, or connect"):
                list(loader)
        closing = DataLoader(Pushing(store, "close"), num_workers=2, multiprocessing_context="fork")
        assert len(list(closing)) == 4
        store.push(np.arange(10), np.ones(10), epoch=0)  # the lines of this process are as they were
        assert store.stats().pushed_scores == 10


@pytest.mark.parametrize("end", ["", "store.close()", "sys.exit(3)"], ids=["nothing", "close", "exit"])
def test_the_end_of_a_program_waits_for_its_pushes(redis, end):
    with connect(redis.url, "job", N, PRUNING) as planner:
        done = run_forked(["-c", OWN + end, redis.url])
        assert done.returncode == (3 if "exit" in end else 0) and not done.stderr, done.stderr
        assert planner.stats().pushed_scores == N


def test_close_says_how_many_scores_did_not_arrive(redis, monkeypatch):
    store = connect(redis.url, "job", N, PRUNING)
    monkeypatch.setattr(remote, "CLOSING", 0.5)
    os.kill(redis.process.pid, signal.SIGSTOP)
    try:
        store.push(np.arange(1000), np.ones(1000), epoch=0)
        with pytest.warns(UserWarning, match=r"close\(\): 1,000 pushed scores did not reach the store"):
            store.close()
    finally:
        os.kill(redis.process.pid, signal.SIGCONT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.close()


def test_an_error_in_a_with_block_is_not_held_up(redis, monkeypatch):
    monkeypatch.setattr(remote, "CLOSING", 3600.0)
    store = connect(redis.url, "job", N, PRUNING, timeout=3600)
    os.kill(redis.process.pid, signal.SIGSTOP)
    try:
        with warnings.catch_warnings(), pytest.raises(ZeroDivisionError), store:
            warnings.simplefilter("error")
            store.push(np.arange(1000), np.ones(1000), epoch=0)
            raise ZeroDivisionError
    finally:
        os.kill(redis.process.pid, signal.SIGCONT)
