"""The files that a run in Ray comes back from, on a local disk and on another of fsspec's file systems."""

import secrets

import pytest

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig
from sadp_dist.store import StoreUnavailable
from sadp_dist.store.backends.ray.files import SnapshotFiles, folder_of
from sadp_dist.store.connection import Unreachable
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Run


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    base = str(tmp_path) if request.param == "disk" else f"memory://{secrets.token_hex(4)}"
    return folder_of("a/../run?", base)


def snapshot_of(seed: int):
    """A snapshot that is told from others by its seed."""
    return Engine(Run("run", 5, PruningConfig(seed=seed))).snapshot()


def seed_in(files: SnapshotFiles, number: int) -> int:
    return files.read(number).run.pruning.seed


def test_what_is_written_is_read_and_two_generations_are_kept(folder):
    files = SnapshotFiles(folder, 5)
    assert files.newest() is None
    for number in range(1, 5):
        files.write(number, snapshot_of(number))
    assert files.newest() == 4
    assert [seed_in(files, number) for number in (3, 4)] == [3, 4]
    with pytest.raises(StoreUnavailable, match="00000002.npz' is gone: .* --resume"):
        files.read(2)


def test_actors_made_later_do_not_read_the_files_of_earlier_ones(folder):
    SnapshotFiles(folder, 5).write(7, snapshot_of(0))
    for token in (6, 0x55, 0x50):
        assert SnapshotFiles(folder, token).newest() is None


def test_what_earlier_clusters_left_of_a_run_is_removed_and_nothing_of_this_one(folder):
    for token in range(5):
        SnapshotFiles(folder, token).write(1, snapshot_of(token))
    mine = SnapshotFiles(folder, 7)
    mine.write(3, snapshot_of(7))
    SnapshotFiles(f"{folder}2", 0).write(1, snapshot_of(0))
    mine.remove_older_runs()
    assert [SnapshotFiles(folder, token).newest() for token in range(5)] == [None] * 5
    assert seed_in(mine, 3) == 7
    assert SnapshotFiles(f"{folder}2", 0).newest() == 1


def test_a_file_that_a_kill_cut_short_is_not_there(tmp_path):
    files = SnapshotFiles(folder_of("run", str(tmp_path)), 5)
    files.write(1, snapshot_of(1))
    (written,) = (tmp_path / "run-run").iterdir()
    written.with_name(f".tmp-{written.name.replace('1.npz', '2.npz')}").write_bytes(b"half")
    assert files.newest() == 1
    written.write_bytes(written.read_bytes()[:-10])
    with pytest.raises(StoreUnavailable, match="cut short .* --resume"):
        files.read(1)
    written.unlink()
    written.mkdir()
    with pytest.raises(Unreachable, match="cannot be read"):
        files.read(1)


def test_all_of_a_run_is_removed_and_nothing_of_another(folder):
    here, other = SnapshotFiles(folder, 5), SnapshotFiles(f"{folder}2", 5)
    for files in (here, other):
        files.write(1, snapshot_of(1))
    here.remove_folder()
    here.remove_folder()
    assert here.newest() is None
    assert other.newest() == 1


def test_a_path_that_nothing_reads_is_refused():
    with pytest.raises(UsageError, match="snapshot='nowhere://x' is not a path that fsspec reads here"):
        folder_of("run", "nowhere://x")
