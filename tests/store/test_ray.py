"""A run in a real Ray cluster of two nodes: the plans of the embedded store, whatever is killed."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sadp_dist import PruningConfig, connect
from sadp_dist.store import attach, list_runs, remove_run
from tests.store.ray_cluster import RayCluster, free_port

N = 40_000
PRUNING = PruningConfig(
    ratio=0.4, max_ratio=0.6, epochs=8, min_probability=0.1, stratify="class-score", seed=3
)
LABELS = np.arange(N) % 7
CLIENT_PORT = free_port()
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    with RayCluster(nodes=1, client_port=CLIENT_PORT) as cluster:
        yield cluster


@pytest.fixture
def run(request, cluster, tmp_path):
    """A run's name; the run is removed in the end."""
    name = f"run {request.node.name}/..?"
    yield name
    if name in [found["run"] for found in list_runs("ray:auto")]:
        remove_run("ray:auto", name)


class Job:
    """The ranks of a job, each with a store of its own, and beside them the same job in one process."""

    def __init__(self, run: str, world_size: int, snapshot: Path, shards: int = 1, **options) -> None:
        options = {"snapshot": str(snapshot), "shards": shards, "timeout": 60, **options}
        self.stores = [connect("ray:auto", run, N, PRUNING, LABELS, **options) for _ in range(world_size)]
        self.alone = connect("memory:", run, N, PRUNING, LABELS)
        self.threads = ThreadPoolExecutor(world_size)

    def push(self, epoch: int, part: slice = slice(None)) -> None:
        """Scores of some examples, in an order of their own, some of them twice, from all ranks."""
        chance = np.random.default_rng([epoch, part.start or 0])
        examples = chance.permutation(np.arange(N)[part])
        scores = chance.lognormal(size=len(examples)).astype(np.float32)
        self.alone.push(examples, scores, epoch)
        for batch in np.array_split(chance.permutation(len(examples)), 10):
            for store in chance.permutation(self.stores)[: chance.integers(1, 3)]:
                store.push(examples[batch], scores[batch], epoch)

    def flush(self) -> None:
        for store in self.stores:
            store.flush()

    def begin_plan(self, epoch: int, rank: int):
        return self.threads.submit(self.stores[rank].plan, epoch, rank, len(self.stores))

    def assert_same_plan(self, epoch: int) -> None:
        """Every rank gets what it would have got in one process."""
        size = len(self.stores)
        futures = [self.begin_plan(epoch, rank) for rank in reversed(range(size))]
        for future, rank in zip(futures, reversed(range(size)), strict=True):
            self.assert_same_shard(future.result(90), epoch, rank)

    def assert_same_shard(self, shard, epoch: int, rank: int) -> None:
        expected = self.alone.plan(epoch, rank, len(self.stores))
        assert len(expected.indices) > N // (3 * len(self.stores))
        np.testing.assert_array_equal(shard.indices, expected.indices)
        np.testing.assert_array_equal(shard.weights, expected.weights)
        assert shard.drawn == expected.drawn

    def assert_same_scores(self) -> None:
        everything = np.arange(N)
        np.testing.assert_array_equal(self.stores[0].scores(everything), self.alone.scores(everything))

    def close(self) -> None:
        for store in self.stores:
            store.close()


@pytest.mark.parametrize(("world_size", "shards"), [(1, 1), (2, 1), (4, 1), (1, 3), (2, 3), (4, 3)])
def test_plans_are_those_of_the_embedded_store(run, tmp_path, world_size, shards):
    job = Job(run, world_size, tmp_path, shards)
    job.assert_same_plan(0)
    for epoch in range(3):
        job.push(epoch)
        job.assert_same_plan(epoch + 1)
    ours, theirs = job.stores[0].stats(), job.alone.stats()
    for name in ("seen", "epoch", "drawn", "gamma", "effective_sample_size", "score_quantiles"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.waiting_ranks == [] and ours.last_snapshot > time.time() - 60
    np.testing.assert_array_equal(job.stores[-1].top(100), job.alone.top(100))
    job.close()


KILLS = ("kill_actor", "kill_process")


@pytest.mark.parametrize("kill", KILLS)
def test_an_actor_that_is_killed_in_an_epoch_changes_no_subset(cluster, run, tmp_path, kill):
    job = Job(run, 2, tmp_path)
    job.assert_same_plan(0)
    for epoch in range(3):
        job.push(epoch, slice(0, N // 2))
        job.flush()
        getattr(cluster, kill)(run)
        job.push(epoch, slice(N // 2, N))
        if epoch == 1:
            job.flush()
            job.assert_same_scores()
        job.assert_same_plan(epoch + 1)
    job.close()


@pytest.mark.parametrize("kill", KILLS)
def test_an_actor_that_is_killed_before_the_first_plan_is_given_everything_again(
    cluster, run, tmp_path, kill
):
    job = Job(run, 2, tmp_path)
    job.push(0)
    job.flush()
    getattr(cluster, kill)(run)
    job.assert_same_plan(1)
    job.close()


@pytest.mark.parametrize("kill", KILLS)
def test_an_actor_that_is_killed_while_a_rank_waits_forgets_nobody(cluster, run, tmp_path, kill):
    job = Job(run, 2, tmp_path)
    job.assert_same_plan(0)
    job.push(0)
    job.flush()
    first = job.begin_plan(1, rank=0)
    watching = attach("ray:auto", run)
    while watching.stats().waiting_ranks != [1]:
        time.sleep(0.01)
    getattr(cluster, kill)(run)
    job.assert_same_shard(job.begin_plan(1, rank=1).result(60), 1, rank=1)
    job.assert_same_shard(first.result(60), 1, rank=0)
    job.close()


@pytest.mark.parametrize("kill", KILLS)
def test_a_rank_gets_the_shard_of_a_plan_that_another_has_although_scores_came_after_it(
    cluster, run, tmp_path, kill
):
    job = Job(run, 2, tmp_path)
    job.push(0)
    job.flush()
    job.stores[1]._connection.ask(1, 1, 2)
    job.assert_same_shard(job.begin_plan(1, rank=0).result(60), 1, rank=0)
    job.assert_same_shard(job.alone.plan(1, 0, 2), 1, rank=0)  # made before what follows
    examples = np.arange(N)
    for store in (job.stores[0], job.alone):
        store.push(examples, np.ones(N), epoch=1)
    job.stores[0].flush()
    getattr(cluster, kill)(run)
    job.assert_same_shard(job.begin_plan(1, rank=1).result(60), 1, rank=1)
    job.assert_same_plan(2)
    job.close()
