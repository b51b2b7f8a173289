"""The files that a run in Ray comes back from, on a local disk and on another of fsspec's file systems."""

import secrets

import numpy as np
import pytest

from sadp_dist.errors import UsageError
from sadp_dist.store import StoreUnavailable
from sadp_dist.store.backends.ray.files import SnapshotFiles, folder_of
from sadp_dist.store.connection import Unreachable


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    base = str(tmp_path) if request.param == "disk" else f"memory://{secrets.token_hex(4)}"
    return folder_of("a/../run?", base)


def test_what_is_written_is_read_and_two_generations_are_kept(folder):
    files = SnapshotFiles(folder, 5, "scores0")
    assert files.newest() is None
    for number in range(1, 5):
        files.write(number, {"number": number}, values=np.arange(number))
    assert files.newest() == 4
    for number in (3, 4):
        header, arrays = files.read(number)
        assert header == {"number": number}
        np.testing.assert_array_equal(arrays["values"], np.arange(number))
    with pytest.raises(StoreUnavailable, match="00000002.npz' is gone: .* --resume"):
        files.read(2)


def test_actors_made_later_and_other_content_are_not_mistaken_for_ones_own(folder):
    SnapshotFiles(folder, 5, "scores1").write(7, {})
    for token, content in ((6, "scores1"), (5, "scores"), (5, "scores11")):
        assert SnapshotFiles(folder, token, content).newest() is None


def test_what_earlier_clusters_left_of_a_run_is_removed_and_nothing_of_this_one(folder):
    for token in range(5):
        SnapshotFiles(folder, token, "scores0").write(1, {})
    mine = [SnapshotFiles(folder, 7, content) for content in ("scores0", "scores1")]
    for files in mine:
        files.write(3, {"mine": True})
    SnapshotFiles(f"{folder}2", 0, "scores0").write(1, {})
    mine[0].remove_older_runs()
    mine[1].remove_older_runs()
    assert [SnapshotFiles(folder, token, "scores0").newest() for token in range(5)] == [None] * 5
    assert [files.read(3)[0] for files in mine] == [{"mine": True}] * 2
    assert SnapshotFiles(f"{folder}2", 0, "scores0").newest() == 1


def test_a_file_that_a_kill_cut_short_is_not_there(tmp_path):
    files = SnapshotFiles(folder_of("run", str(tmp_path)), 5, "run")
    files.write(1, {})
    (written,) = (tmp_path / "run-run").iterdir()
    written.with_name(f".tmp-{written.name.replace('1.npz', '2.npz')}").write_bytes(b"half")
    assert files.newest() == 1
    written.write_bytes(written.read_bytes()[:-10])
    with pytest.raises(StoreUnavailable, match="is damaged"):
        files.read(1)
    written.unlink()
    written.mkdir()
    with pytest.raises(Unreachable, match="cannot be read"):
        files.read(1)


def test_all_of_a_run_is_removed_and_nothing_of_another(folder):
    here, other = SnapshotFiles(folder, 5, "run"), SnapshotFiles(f"{folder}2", 5, "run")
    for files in (here, other):
        files.write(1, {})
    here.remove_folder()
    here.remove_folder()
    assert here.newest() is None
    assert other.newest() == 1


def test_a_path_that_nothing_reads_is_refused():
    with pytest.raises(UsageError, match="snapshot='nowhere://x' is not a path that fsspec reads here"):
        folder_of("run", "nowhere://x")
