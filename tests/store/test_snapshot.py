"""Saving and loading: nothing is lost, nothing half-written or foreign is taken."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig
from sadp_dist.store import Store, connect, open_snapshot
from sadp_dist.store.engine.snapshot import Snapshot

N = 200
PRUNING = PruningConfig(ratio=0.5, epochs=6, min_probability=0.1, stratify="class", seed=4)
LABELS = np.arange(N) % 5


def new_store(dataset_size: int = N, pruning: PruningConfig = PRUNING, labels=LABELS) -> Store:
    return connect("memory:", "test", dataset_size, pruning, labels=labels)


def push_epoch(store: Store, epoch: int, examples=None) -> None:
    examples = np.arange(N) if examples is None else examples
    scores = np.random.default_rng(epoch).lognormal(size=N)
    store.push(examples, scores[examples], epoch=epoch)


def assert_same_state(store: Store, other: Store) -> None:
    np.testing.assert_array_equal(store.scores(np.arange(N)), other.scores(np.arange(N)))
    assert store.stats() == other.stats()


def assert_same_shard(shard, other) -> None:
    np.testing.assert_array_equal(shard.indices, other.indices)
    np.testing.assert_array_equal(shard.weights, other.weights)
    assert (shard.subset_size, shard.ratio, shard.epoch) == (other.subset_size, other.ratio, other.epoch)


@pytest.fixture
def store():
    """In the middle of epoch 2: planned, half scored, one push refused."""
    store = new_store()
    push_epoch(store, 0)
    store.plan(1)
    push_epoch(store, 1, np.arange(0, N, 3))
    store.plan(2)
    push_epoch(store, 2, np.arange(0, N, 7))
    with pytest.raises(UsageError):
        store.push([N], [1.0], epoch=2)
    return store


@pytest.fixture
def saved(store, tmp_path):
    store.save(tmp_path / "store.npz")
    return tmp_path / "store.npz"


def test_a_loaded_store_goes_on_in_the_middle_of_an_epoch_as_the_saved_one_does(store, saved):
    loaded = new_store()
    push_epoch(loaded, 5)  # forgotten
    loaded.load(saved)
    assert_same_state(loaded, store)
    assert_same_shard(loaded.plan(2), store.plan(2))
    for each in (store, loaded):
        push_epoch(each, 2, np.arange(50))
    assert_same_shard(loaded.plan(3, 1, 2), store.plan(3, 1, 2))
    assert_same_state(loaded, store)


def test_what_a_rule_keeps_of_each_example_goes_on_too(tmp_path):
    """Averages, expected scores, credits, and the whole weights of a plan with served ones to a power."""
    pruning = PruningConfig(
        method="sadp-plus", ratio=0.5, epochs=6, weight_exponent=0.5, seed=4, calibrate=True
    )
    store, loaded = new_store(pruning=pruning), new_store(pruning=pruning)
    for epoch in range(3):
        push_epoch(store, epoch, store.plan(epoch).indices)
    store.save(tmp_path / "store.npz")
    loaded.load(tmp_path / "store.npz")
    for epoch in (2, 3, 4):
        assert_same_shard(loaded.plan(epoch, 1, 2), store.plan(epoch, 1, 2))
        for each in (store, loaded):
            push_epoch(each, epoch, np.arange(epoch, N, 2))
    assert_same_state(loaded, store)
    assert loaded.history() == store.history()


def test_the_plan_of_the_current_epoch_would_not_come_out_of_the_scores_again(store):
    fresh = new_store()
    fresh.push(np.arange(N), store.scores(np.arange(N)), epoch=1)
    assert fresh.plan(2).weights.tolist() != store.plan(2).weights.tolist()


def test_saving_replaces_the_file_and_leaves_nothing_beside_it(store, saved):
    push_epoch(store, 3)
    store.save(saved)
    assert [file.name for file in saved.parent.iterdir()] == ["store.npz"]
    loaded = new_store()
    loaded.load(saved)
    assert_same_state(loaded, store)


def test_a_snapshot_travels_as_bytes_with_what_its_backend_knows(saved):
    snapshot = replace(Snapshot.read(saved), service={"origin": "0x2a", "asked": {"3": [0, 1]}})
    data = snapshot.to_bytes()
    arrived = Snapshot.from_bytes(data, "the snapshot")
    assert arrived.service == snapshot.service
    assert arrived.run.facts() == snapshot.run.facts()
    np.testing.assert_array_equal(arrived.table.scores, snapshot.table.scores)
    for plan, sent in zip(arrived.plans, snapshot.plans, strict=True):
        np.testing.assert_array_equal(plan.weights, sent.weights)
    with pytest.raises(UsageError, match="^the snapshot is not a saved store, or was cut short"):
        Snapshot.from_bytes(data[:-40], "the snapshot")


def test_a_file_from_before_there_were_services_is_read(saved):
    with np.load(saved) as file:
        arrays = dict(file)
    header = json.loads(arrays["header"].tobytes())
    assert header.pop("service") == {}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(saved, **arrays)
    assert Snapshot.read(saved).service == {}


def test_a_file_whose_plans_have_wide_indices_is_read(store, saved):
    with np.load(saved) as file:
        arrays = dict(file)
    wide = {name: array.astype(np.int64) for name, array in arrays.items() if name.endswith("_indices")}
    assert len(wide) == 2 and all(arrays[name].dtype == np.int32 for name in wide)
    np.savez(saved, **{**arrays, **wide})
    loaded = new_store()
    loaded.load(saved)
    shard = loaded.plan(2)
    assert_same_shard(shard, store.plan(2))
    assert shard.indices.dtype == np.int64


def test_nothing_in_the_file_is_pickled(saved):
    with zipfile.ZipFile(saved) as archive:
        for name in archive.namelist():
            np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)


def assert_refused(path, message: str, store: Store | None = None) -> None:
    store = store or new_store()
    push_epoch(store, 1)
    before = store.scores(np.arange(store.stats().dataset_size)), store.stats()
    with pytest.raises(UsageError, match=message) as refusal:
        store.load(path)
    assert "\n" not in str(refusal.value)
    np.testing.assert_array_equal(store.scores(np.arange(store.stats().dataset_size)), before[0])
    assert store.stats() == before[1]


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.2, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(saved, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content))])
    assert_refused(saved, "store.npz' is not a saved store, or was cut short")


def test_a_file_with_a_byte_changed_is_refused_or_says_the_same(store, saved):
    content = saved.read_bytes()
    for position in np.random.default_rng(0).integers(len(content), size=150):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        saved.write_bytes(damaged)
        loaded = new_store()
        try:
            loaded.load(saved)
        except UsageError as refusal:
            assert "\n" not in str(refusal)
            assert loaded.stats().seen == 0
        else:  # a byte that says nothing, such as a date
            assert_same_state(loaded, store)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("not a store"),
        lambda path: path.mkdir(),
        lambda path: np.savez(path, other=np.zeros(3)),
        lambda path: np.savez(path, header=np.frombuffer(b'{"format": "other"}', np.uint8)),
        lambda path: np.savez(path, header=np.array([{"format": "sadp_dist store"}], dtype=object)),
    ],
    ids=["text", "folder", "other arrays", "other format", "pickled header"],
)
def test_what_is_not_a_store_is_refused(tmp_path, write):
    path = tmp_path / "other.npz"
    write(path)
    assert_refused(path, "other.npz' is not a saved store")


def test_a_small_file_of_huge_arrays_is_refused_before_it_takes_memory(saved, tmp_path):
    """One is compressed a thousandfold; the other says it has 10^15 values, which are not there."""
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(saved) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    compressed, false = dict(members), dict(members)
    compressed["scores.npy"] += bytes(100_000_000)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**15,)})
    false["scores.npy"] = header.getvalue() + bytes(4 * N)
    for content, how, reason in (
        (compressed, zipfile.ZIP_DEFLATED, r"\w+.npy is compressed"),
        (false, zipfile.ZIP_STORED, "scores.npy is of another size than it says"),
    ):
        with zipfile.ZipFile(bomb, "w", how) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        assert bomb.stat().st_size < 1_000_000
        tracemalloc.start()
        for read in (Snapshot.read, Snapshot.read_header):
            with pytest.raises(UsageError, match=reason):
                read(bomb)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 10_000_000


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert_refused(tmp_path / "none.npz", "none.npz' does not exist")


@pytest.mark.parametrize("method", ["sadp", "seta"])
def test_a_file_of_version_1_is_read_and_plans_go_on(method):
    """Written by release 0.2: the options of all rules are in it, and those of others did nothing."""
    paper = {"schedule": "paper", "floor": "absolute"}
    options = {"sadp": {**paper, "min_probability": 0.1, "stratify": "class"}, "seta": {"groups": 4}}[method]
    pruning = PruningConfig(method=method, ratio=0.5, epochs=6, seed=4, **options)
    store = connect("memory:", "test", 60, pruning, labels=np.arange(60) % 5)
    store.load(Path(__file__).parent / f"version1-{method}.npz")
    expected = connect("memory:", "test", 60, pruning, labels=np.arange(60) % 5)
    for epoch in range(3):
        if epoch:
            expected.plan(epoch)
        expected.push(np.arange(epoch, 60), np.random.default_rng(epoch).lognormal(size=60)[epoch:], epoch)
    np.testing.assert_array_equal(store.scores(range(60)), expected.scores(range(60)))
    assert [record.epoch for record in store.history()] == [1, 2]
    for epoch in (2, 3):
        assert_same_shard(store.plan(epoch), expected.plan(epoch))


def test_another_version_is_refused(saved):
    with np.load(saved) as file:
        arrays = dict(file)
    header = json.loads(arrays["header"].tobytes())
    arrays["header"] = np.frombuffer(json.dumps({**header, "version": 3}).encode(), np.uint8)
    np.savez(saved, **arrays)
    assert_refused(saved, "is a saved store of version 3; this release reads versions 1 and 2")


def test_another_dataset_size_is_refused(tmp_path):
    other = connect("memory:", "test", 300, PruningConfig(epochs=6))
    other.save(tmp_path / "other.npz")
    ours = connect("memory:", "test", N, PruningConfig(epochs=6))
    assert_refused(tmp_path / "other.npz", r"dataset_size=300 \(here 200\)", ours)


def test_another_configuration_is_refused_and_every_difference_named(saved):
    ours = new_store(
        pruning=PruningConfig(ratio=0.25, epochs=6, min_probability=0.1, stratify="class", seed=5)
    )
    assert_refused(saved, r"pruning\.ratio=0\.5 \(here 0\.25\), pruning\.seed=4 \(here 5\)$", ours)


def test_other_labels_are_refused(saved):
    assert_refused(saved, "labels='crc32:[0-9a-f]{8}' ", new_store(labels=LABELS[::-1]))


def test_a_run_of_another_name_is_taken(store, saved):
    other = connect("memory:", "continued", N, PRUNING, labels=LABELS)
    other.load(saved)
    assert other.stats().run == "continued"
    assert_same_shard(other.plan(3), store.plan(3))


def test_a_folder_that_cannot_be_written_to_is_refused(store, tmp_path):
    with pytest.raises(UsageError, match=r"'.*/none/store.npz' cannot be written: No such file or directory"):
        store.save(tmp_path / "none" / "store.npz")


def test_a_saved_store_answers_the_same_and_is_only_read(store, saved):
    opened = open_snapshot(saved)
    assert_same_state(opened, store)
    for mine, theirs in zip(opened.top(9), store.top(9), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for refused in (
        lambda: opened.push([1], [1.0], epoch=3),
        lambda: opened.plan(3),
        lambda: opened.save(saved),
        lambda: opened.load(saved),
    ):
        with pytest.raises(UsageError, match="this store can only be read"):
            refused()


def test_the_newest_finished_store_of_a_run_folder_is_opened(store, tmp_path):
    for name, epoch in (("checkpoints/e1", 3), ("checkpoints/e0", 4), ("checkpoints/.tmp-e2", 5)):
        (tmp_path / name).mkdir(parents=True)
        push_epoch(store, epoch)
        store.save(tmp_path / name / "store.npz")
    opened = open_snapshot(tmp_path)
    expected = open_snapshot(tmp_path / "checkpoints/e0/store.npz")
    assert opened.stats() == expected.stats()


@pytest.mark.parametrize(
    ("older", "newest"),
    [
        ("e0029-b000000", "e0030-b000000"),
        ("e0029-b000120", "e0030-b000000"),
        ("e0029-b000000", "e0029-b000120"),
        ("e9999-b000000", "e10000-b000000"),
    ],
)
def test_the_newest_checkpoint_is_found_by_its_epoch_and_batch_not_by_the_time_of_its_file(
    store, tmp_path, older, newest
):
    for number, name in enumerate((older, newest)):
        store.push([number], [1.0], epoch=3)
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        store.save(tmp_path / "checkpoints" / name / "store.npz")
        os.utime(tmp_path / "checkpoints" / name / "store.npz", (100 - number, 100 - number))
    (tmp_path / "checkpoints.copy" / "e20000-b000000").mkdir(parents=True)  # beside the run's own
    (tmp_path / "checkpoints.copy" / "e20000-b000000" / "store.npz").write_text("of another run")
    assert open_snapshot(tmp_path).stats() == store.stats()


def test_a_folder_of_several_runs_is_refused_by_their_names(store, tmp_path):
    for run in ("a", "b"):
        (tmp_path / run / "checkpoints" / "e0001-b000000").mkdir(parents=True)
        store.save(tmp_path / run / "checkpoints" / "e0001-b000000" / "store.npz")
    with pytest.raises(UsageError, match=r"stores of 2 runs \(.*/a/checkpoints, .*/b/checkpoints\)"):
        open_snapshot(tmp_path)
    assert open_snapshot(tmp_path / "a").stats() == store.stats()


@pytest.mark.parametrize("moment", ["listed", "found"])
def test_a_checkpoint_that_goes_between_being_seen_and_being_read_is_followed_by_the_next(
    store, tmp_path, monkeypatch, moment
):
    (tmp_path / "e0").mkdir()
    store.save(tmp_path / "e0" / "store.npz")
    walk, read, rotations = os.walk, Snapshot.read, []

    def rotate():
        """What a run does to its checkpoints meanwhile, once."""
        if not rotations:
            rotations.append(os.rename(tmp_path / "e0", tmp_path / "e1"))

    def walk_then_rotate(folder):
        listed = list(walk(folder))
        rotate()
        return listed

    def rotate_then_read(path):
        rotate()
        return read(path)

    if moment == "listed":
        monkeypatch.setattr(os, "walk", walk_then_rotate)
    else:
        monkeypatch.setattr(Snapshot, "read", rotate_then_read)
    assert open_snapshot(tmp_path).stats() == store.stats()
    assert rotations


def test_a_damaged_newest_checkpoint_of_a_run_is_refused(store, tmp_path):
    (tmp_path / "e0").mkdir()
    (tmp_path / "e0" / "store.npz").write_text("cut short")
    with pytest.raises(UsageError, match="e0/store.npz' is not a saved store, or was cut short"):
        open_snapshot(tmp_path)


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"holds no store\.npz"):
        open_snapshot(tmp_path)


def test_opening_a_saved_store_needs_no_torch(saved):
    code = (
        "import sys; from sadp_dist.store import open_snapshot; "
        f"print(open_snapshot({str(saved)!r}).stats().seen, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(N), "False"]


SAVE_FOR_EVER = """
import itertools, sys
import numpy as np
from sadp_dist.selection import PruningConfig
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Records
from sadp_dist.store.engine.run import Run

engine = Engine(Run("test", 300_000, PruningConfig(epochs=2)))
for number in itertools.count(1):
    engine.apply(Records(np.arange(300_000), np.full(300_000, number, np.float32), epoch=0))
    engine.snapshot().save(sys.argv[1])
    if number == 2:
        print("saving", flush=True)
"""


def test_kill_9_in_the_middle_of_a_save_leaves_a_whole_file(tmp_path):
    path = tmp_path / "store.npz"
    interrupted = 0
    for attempt in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", SAVE_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "saving\n"
            time.sleep(0.003 * attempt)
            process.send_signal(signal.SIGKILL)
        interrupted += (tmp_path / ".tmp-store.npz").exists()
        opened = open_snapshot(path)
        number = opened.stats().pushes
        assert number >= 2
        assert np.all(opened.scores(np.arange(300_000)) == number)
    assert interrupted > 0
