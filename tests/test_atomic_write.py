"""A file is written whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from sadp_dist.atomic_write import TEMPORARY, atomic_write


def test_the_file_has_its_name_when_it_is_complete(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        with temporary.open("a") as file:
            file.write(" and half")
    assert path.read_text() == "half and half"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError("the disk is full"), KeyboardInterrupt()])
def test_an_error_keeps_the_old_file_and_leaves_nothing(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_second_writer_of_the_same_path_is_refused_and_the_first_one_goes_on(tmp_path):
    path = tmp_path / "file"
    with atomic_write(path) as temporary:
        temporary.write_text("the first one's")
        code = "import sys, pathlib; from sadp_dist.atomic_write import atomic_write\n"
        code += "with atomic_write(pathlib.Path(sys.argv[1])): pass"
        second = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
        assert f"UsageError: {path} is being written by another process" in second.stderr
        with atomic_write(tmp_path / "another") as other:
            other.write_text("beside it")
    assert path.read_text() == "the first one's"
    assert sorted(os.listdir(tmp_path)) == ["another", "file"]


def test_a_block_that_writes_no_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "file"):
        pass
    assert os.listdir(tmp_path) == []


def test_content_and_name_are_on_disk_before_it_returns(tmp_path, monkeypatch):
    events = []
    replace, fsync = os.replace, os.fsync

    def synced(descriptor):
        events.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *paths: (events.append("rename"), replace(*paths)))
    with atomic_write(tmp_path / "file") as temporary:
        temporary.write_text("content")
    assert events == [("fsync", str(tmp_path / f"{TEMPORARY}file")), "rename", ("fsync", str(tmp_path))]


def test_what_a_killed_process_left_is_overwritten_by_the_next_write(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from sadp_dist.atomic_write import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('a long half-written file')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "file"
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [f"{TEMPORARY}file"]
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]
