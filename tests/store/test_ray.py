"""A run in a real Ray cluster of two nodes: the plans of the embedded store, whatever is killed."""

import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from sadp_dist import PruningConfig, connect
from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.store import StoreUnavailable, attach, list_runs, remove_run
from sadp_dist.store.backends.ray.files import SnapshotFiles, folder_of
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Run
from tests.ports import free_port
from tests.store.ray_cluster import RayCluster

N = 40_000
PRUNING = PruningConfig(
    ratio=0.4, max_ratio=0.6, epochs=8, min_probability=0.1, stratify="class-score", seed=3
)
PLUS = PruningConfig(  # keeps the most
    method="sadp-plus", ratio=0.4, max_ratio=0.6, epochs=8, seed=3, calibrate=True
)
LABELS = np.arange(N) % 7
DATA = {"content": "0123"}
CLIENT_PORT = free_port()
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    with RayCluster(nodes=1, client_port=CLIENT_PORT) as cluster:
        yield cluster


@pytest.fixture
def run(request, cluster, tmp_path):
    """A run's name; the run is removed in the end."""
    name = f"run {abs(hash(request.node.name))}/..?"
    yield name
    if name in [found["run"] for found in list_runs("ray:auto")]:
        remove_run("ray:auto", name)


class Job:
    """The ranks of a job, each with a store of its own, and beside them the same job in one process."""

    def __init__(
        self,
        run: str,
        world_size: int,
        snapshot: Path,
        url: str = "ray:auto",
        pruning: PruningConfig = PRUNING,
    ) -> None:
        options = {"snapshot": str(snapshot), "timeout": 240}
        self.stores = [connect(url, run, N, pruning, LABELS, DATA, **options) for _ in range(world_size)]
        self.alone = connect("memory:", run, N, pruning, LABELS)
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
        for store in (self.stores[0], self.alone):
            store.record(epoch, {"loss": float(scores.mean())})

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
            self.assert_same_shard(future.result(240), epoch, rank)
        assert self.stores[0].history() == self.alone.history()

    def assert_same_shard(self, shard, epoch: int, rank: int) -> None:
        expected = self.alone.plan(epoch, rank, len(self.stores))
        assert len(expected.indices) > N // (3 * len(self.stores))
        np.testing.assert_array_equal(shard.indices, expected.indices)
        np.testing.assert_array_equal(shard.weights, expected.weights)
        assert shard.drawn == expected.drawn

    def assert_same_scores(self) -> None:
        everything = np.arange(N)
        ours, theirs = self.stores[0], self.alone
        np.testing.assert_array_equal(ours.scores(everything), theirs.scores(everything))
        np.testing.assert_array_equal(ours.top(N, by="change"), theirs.top(N, by="change"))

    def close(self) -> None:
        for store in self.stores:
            store.close()


@pytest.mark.parametrize(("world_size", "block"), [(1, None), (2, None), (4, 300)])
def test_plans_are_those_of_the_embedded_store(run, tmp_path, world_size, block):
    job = Job(run, world_size, tmp_path, pruning=PRUNING.replace(shard_block=block))
    job.assert_same_plan(0)
    for epoch in range(3):
        job.push(epoch)
        job.assert_same_plan(epoch + 1)
    ours, theirs = job.stores[0].stats(), job.alone.stats()
    for name in ("seen", "epoch", "drawn", "gamma", "effective_sample_size", "score_quantiles"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.waiting_ranks == [] and ours.last_snapshot > time.time() - 60
    for by in ("score", "change"):
        np.testing.assert_array_equal(job.stores[-1].top(100, by=by), job.alone.top(100, by=by))
    assert job.stores[-1].classes() == job.alone.classes()
    assert len(ours.rank_epochs) == world_size and set(ours.rank_epochs) == {3}


def kill_actor(cluster, run):
    cluster.kill_actor(run)


def kill_process(cluster, run):
    cluster.kill_process(run)


@pytest.mark.parametrize(("kill", "pruning"), [(kill_actor, PRUNING), (kill_process, PLUS)])
def test_an_actor_that_is_killed_in_an_epoch_changes_no_subset(cluster, run, tmp_path, kill, pruning):
    job = Job(run, 2, tmp_path, pruning=pruning)
    job.push(0)
    job.assert_same_plan(1)
    job.push(1, slice(0, N // 2))
    job.flush()
    kill(cluster, run)
    job.push(1, slice(N // 2, N))
    job.assert_same_scores()
    job.assert_same_plan(2)
    job.push(2)
    job.assert_same_plan(3)


def test_an_actor_that_is_killed_before_the_first_plan_gets_everything_again(cluster, run, tmp_path):
    job = Job(run, 2, tmp_path)
    job.push(0)
    job.flush()
    cluster.kill_process(run)
    job.assert_same_plan(1)


def test_an_actor_that_is_killed_while_a_rank_waits_keeps_it_waiting_for_the_others(cluster, run, tmp_path):
    job = Job(run, 2, tmp_path)
    job.assert_same_plan(0)
    job.push(0)
    job.flush()
    first = job.begin_plan(1, rank=0)
    with attach("ray:auto", run) as watching:
        while watching.stats().waiting_ranks != [1]:
            time.sleep(0.01)
    cluster.kill_process(run)
    job.assert_same_shard(job.begin_plan(1, rank=1).result(240), 1, rank=1)
    job.assert_same_shard(first.result(240), 1, rank=0)


def test_a_plan_that_one_rank_has_is_the_other_ranks_plan_though_scores_came_and_the_actor_was_killed(
    cluster, run, tmp_path
):
    job = Job(run, 2, tmp_path, pruning=PLUS)
    job.push(0)
    job.flush()
    job.stores[1]._connection.ask(1, 1, 2)
    job.assert_same_shard(job.begin_plan(1, rank=0).result(240), 1, rank=0)
    for store in (job.stores[0], job.alone):
        store.push(np.arange(N), np.ones(N), epoch=1)
    job.stores[0].flush()
    cluster.kill_process(run)
    job.assert_same_shard(job.begin_plan(1, rank=1).result(240), 1, rank=1)
    job.assert_same_plan(2)


def test_a_node_that_is_killed_changes_no_subset_where_snapshots_are_shared(cluster, run, tmp_path):
    job = job_on_another_node(cluster, run, tmp_path)
    job.push(0)
    job.assert_same_plan(1)
    job.push(1)
    job.flush()
    cluster.kill_node(cluster.node_of(run))
    job.assert_same_plan(2)
    cluster.add_node()


def test_a_node_that_takes_the_snapshots_along_ends_the_run_with_one_line(cluster, run, tmp_path):
    job = job_on_another_node(cluster, run, tmp_path)
    job.push(0)
    job.assert_same_plan(1)
    cluster.kill_node(cluster.node_of(run))
    shutil.rmtree(tmp_path)
    with pytest.raises(StoreUnavailable, match="lost with a node.*--resume.*store.snapshot") as lost:
        job.stores[0].plan(2, 0, 2)
    assert "\n" not in str(lost.value)
    cluster.add_node()


def job_on_another_node(cluster, run, folder):
    """A job whose actor is not on the node that this process belongs to."""
    while True:
        job = Job(run, 2, folder)
        if not cluster.is_head(cluster.node_of(run)):
            return job
        job.close()
        remove_run("ray:auto", run)


def test_a_run_restored_from_a_file_outlasts_its_actor(cluster, run, tmp_path):
    job = Job(run, 1, tmp_path)
    (store,) = job.stores
    job.push(0)
    job.assert_same_plan(1)
    job.push(1, slice(0, N // 3))
    store.save(tmp_path / "ours.npz")
    job.alone.save(tmp_path / "theirs.npz")
    job.push(1)
    job.assert_same_plan(2)
    for path in ("theirs.npz", "ours.npz"):
        store.load(tmp_path / path)
        job.alone.load(tmp_path / path)
        cluster.kill_process(run)
        job.assert_same_plan(1)  # older than its scores
        job.assert_same_scores()
        job.push(1)
        job.assert_same_plan(2)
    store.reset()
    job.alone.reset()
    cluster.kill_process(run)
    job.assert_same_scores()
    job.assert_same_plan(0)


def test_who_disagrees_is_refused_with_the_difference(run, tmp_path):
    Job(run, 1, tmp_path)
    with pytest.raises(UsageError, match=r"already .* another run: dataset_size=40000 \(here 5\)"):
        connect("ray:auto", run, 5, PRUNING, LABELS[:5])
    with pytest.raises(UsageError, match=r"pruning.seed=3 \(here 4\), labels="):
        connect("ray:auto", run, N, PRUNING.replace(seed=4), LABELS[::-1])


def test_a_job_that_begins_on_the_run_of_an_old_one_is_told(run, tmp_path):
    old = Job(run, 1, tmp_path).stores[0]
    for epoch in range(3):
        old.plan(epoch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = Job(run, 1, tmp_path).stores[0]  # the same options
    for epoch in (0, 1):
        with pytest.raises(
            UsageError, match=rf"epoch={epoch} of run {re.escape(repr(run))} is over: the run is at epoch=2"
        ):
            new.plan(epoch)
    new.reset()
    new.plan(0)


def test_options_that_come_too_late_are_said_to_change_nothing(run, tmp_path):
    Job(run, 1, tmp_path / "here")
    with pytest.warns(UserWarning) as warned:
        Job(run, 1, tmp_path / "there")
    (says,) = (str(warning.message) for warning in warned)
    assert re.match(
        rf"store.snapshot='.*there' changes nothing: run {re.escape(repr(run))} is in .* already, "
        "with 'file:.*/here/run-",
        says,
    )
    assert not (tmp_path / "there").exists()


def test_files_that_clusters_before_left_of_the_run_are_removed(run, tmp_path):
    folder = Path(folder_of(run, str(tmp_path)).removeprefix("file://"))
    SnapshotFiles(str(folder), 5).write(1, Engine(Run(run, N, PRUNING, LABELS)).snapshot())
    Job(run, 1, tmp_path)
    assert [path.name for path in folder.iterdir() if path.name.startswith(f"{5:016x}")] == []
    assert len(list(folder.iterdir())) == 1  # the snapshot of the new one, without scores


def test_a_package_that_is_missing_is_said_with_how_to_get_it():
    code = """if True:
        import sys
        sys.modules["fsspec"] = None
        import sadp_dist
        try:
            sadp_dist.connect("ray:auto", "run", 10, sadp_dist.PruningConfig())
        except sadp_dist.errors.UsageError as error:
            print(error)"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{MissingExtra('fsspec', 'ray')}\n"


def test_a_job_whose_name_another_takes_over_stops(run, tmp_path):
    mine, other = (Job(run, 1, tmp_path).stores[0] for _ in range(2))
    other.reset()
    mine.push([1], [2.0], 0)
    with pytest.raises(StoreUnavailable, match="another job has taken over"):
        mine.plan(1)
    other.push([1], [3.0], 0)
    assert other.scores([1]) == 3


def test_runs_are_listed_and_removed_with_their_files(run, tmp_path):
    job, other = Job(run, 1, tmp_path), Job(f"{run}/0", 1, tmp_path)
    job.push(0)
    job.assert_same_plan(1)
    before = {found["run"]: found for found in list_runs("ray:auto")}
    assert list(before) == [run, f"{run}/0"]
    assert abs(before[run].pop("since") - time.time()) < 600
    assert before[run] == {
        "run": run,
        "dataset_size": N,
        "method": "sadp",
        "epoch": 1,
        "epochs": job.stores[0].stats().epochs,
        "seen": N,
        "state": "running",
    }
    with attach("ray:auto", run) as watching:
        np.testing.assert_array_equal(watching.top(10), job.alone.top(10))
        assert watching.stats().data == DATA
        with pytest.raises(UsageError, match="push"):
            watching.push([1], [1.0], 0)
    remove_run("ray:auto", run)
    assert [found["run"] for found in list_runs("ray:auto")] == [f"{run}/0"]
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(StoreUnavailable, match="gone from the Ray cluster"):
        job.stores[0].plan(2)
    for call in (remove_run, attach):
        with pytest.raises(UsageError, match="is not in 'ray:auto'; there: run"):
            call("ray:auto", run)
    other.stores[0].plan(0)
    remove_run("ray:auto", f"{run}/0")


def test_a_snapshot_that_cannot_be_written_is_tried_again_until_it_can(run, tmp_path):
    job = Job(run, 1, tmp_path)
    job.push(0)
    (folder,) = tmp_path.iterdir()
    folder.rename(tmp_path / "away")
    folder.write_text("a disk that is full")
    waiting = job.begin_plan(1, rank=0)
    time.sleep(1)
    assert not waiting.done()
    folder.unlink()
    job.assert_same_shard(waiting.result(240), 1, rank=0)


def test_a_folder_for_snapshots_that_cannot_be_written_to_is_refused_at_once(run, tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="cannot be written: .* set store.snapshot to a folder that can be"):
        Job(run, 1, file)
    with pytest.raises(UsageError, match="snapshot='nowhere://x' is not a path that fsspec reads here"):
        connect("ray:auto", "nowhere", N, PRUNING, LABELS, snapshot="nowhere://x")


OUTSIDE = """if True:
    import sys
    from pathlib import Path
    from tests.store.test_ray import Job
    job = Job(sys.argv[1], 1, Path(sys.argv[2]), url=sys.argv[3])
    job.push(0)
    job.assert_same_plan(1)
    job.stores[0].save(Path(sys.argv[2], "store.npz"))
    job.stores[0].load(Path(sys.argv[2], "store.npz"))
    job.assert_same_plan(1)
"""


@contextmanager
def client_outside(run: str, folder: Path) -> Iterator[subprocess.Popen]:
    """A process that trains a run over "ray://"; it ends without an error."""
    program = [sys.executable, "-c", OUTSIDE, run, folder, f"ray://127.0.0.1:{CLIENT_PORT}"]
    with subprocess.Popen(program, stderr=subprocess.PIPE) as client:
        try:
            yield client
            _, errors = client.communicate(timeout=180)
        finally:
            client.kill()
    assert client.returncode == 0, errors.decode()


def test_a_client_outside_the_cluster_gets_the_same(run, tmp_path):
    with client_outside(run, tmp_path):
        pass


def test_a_client_is_accepted_although_its_first_server_dies(run, tmp_path):
    with client_outside(run, tmp_path) as client:
        server = None
        while server is None and client.poll() is None:
            server = next(filter(serves_a_client, psutil.process_iter(["cmdline"])), None)
        server.kill()


def serves_a_client(process: psutil.Process) -> bool:
    """Whether it is what the head starts for a client outside of the cluster."""
    cmdline = process.info["cmdline"] or []
    return "--mode=specific-server" in cmdline and f"--port={CLIENT_PORT}" not in cmdline


@pytest.mark.parametrize(
    ("url", "address", "says"),
    [
        ("ray:auto", "127.0.0.1:4", "Connection refused.*start one with: ray start --head"),
        ("ray://127.0.0.1:4", "", "Connection refused"),
        ("ray:127.0.0.1:4", "", 'use "ray:auto" or "ray://HOST:PORT"'),
    ],
)
def test_a_cluster_that_is_not_there_is_said_in_one_line(url, address, says):
    program = f"from sadp_dist.store import list_runs; list_runs({url!r})"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert re.search(says, ended.stderr.strip().splitlines()[-1])
