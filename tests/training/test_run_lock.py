"""One job at a time writes to a run directory; a second one is refused in a line that names the first."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import psutil
import pytest

from sadp_dist.errors import UsageError
from sadp_dist.training import parse_config, read_metrics, run_lock
from sadp_dist.training.run_lock import LOCK_FILE, locked
from tests.forked import Forked, run_forked
from tests.training.conftest import environment
from tests.training.test_resume import HELD, kill_9, wait_for_checkpoint_in_epoch

HOLDER = "import sys; from sadp_dist.training.run_lock import locked; from pathlib import Path\n"
HOLDER += "with locked(Path(sys.argv[1])): print('has it', flush=True); sys.stdin.read()"
WITHOUT_LOCKS = "#include <errno.h>\nint flock(int fd, int how) { errno = ENOLCK; return -1; }\n"


@contextmanager
def stopped(words, run_dir):
    """A job that was stopped (SIGSTOP) as soon as it had its lock; it goes on and ends well afterwards."""
    with Forked(words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as job:
        lock = run_dir / LOCK_FILE
        while not (lock.exists() and lock.read_text()):
            assert job.poll() is None, job.stderr.read()
            time.sleep(0.001)
        os.kill(job.pid, signal.SIGSTOP)
        try:
            yield job
        finally:
            os.kill(job.pid, signal.SIGCONT)
        assert job.wait() == 0, job.stderr.read()


def refused(done, run_dir, pid):
    assert done.returncode == 2, done.stderr
    who = f"process {pid} on {socket.gethostname()}, since "
    said = re.escape(f"sadp-dist: output={run_dir} is in use by another job ({who}")
    said += r".* UTC\); wait until it has ended or stop it, or set output=DIR\n"
    assert re.fullmatch(said, done.stderr), done.stderr


@pytest.mark.slow
def test_of_two_jobs_that_start_at_once_one_trains(recipe, few_digits, arguments, launch):
    raw = recipe(data=few_digits, training={"epochs": 2, "batch_size": 16})
    run_dir = parse_config(raw).run_dir
    with stopped(arguments(raw), run_dir) as first:
        for options in ((), ("--resume",), ("--overwrite",)):
            refused(launch(raw, *options), run_dir, first.pid)
    assert [record["event"] for record in read_metrics(run_dir)] == ["epoch", "epoch", "end"]
    assert not (run_dir / LOCK_FILE).exists()


@pytest.mark.slow
def test_a_second_job_leaves_a_run_in_the_middle_as_it_is(recipe, few_digits, arguments, launch):
    raw = recipe(data=few_digits, training={"epochs": 3, "batch_size": 16, "checkpoint_every": 2})
    run_dir = parse_config(raw).run_dir
    with Forked([HELD, 1, *arguments(raw)[2:]], env=environment(), stdout=subprocess.DEVNULL) as job:
        wait_for_checkpoint_in_epoch(run_dir / "checkpoints", 1, job)
        os.kill(job.pid, signal.SIGSTOP)
        before = {path: path.stat() for path in run_dir.rglob("*") if path.is_file()}
        for options in ((), ("--resume",), ("--overwrite",)):
            refused(launch(raw, *options), run_dir, job.pid)
        now = {path: path.stat() for path in run_dir.rglob("*") if path.is_file()}
        assert {p: (s.st_ino, s.st_size) for p, s in now.items()} == {
            path: (stat.st_ino, stat.st_size) for path, stat in before.items()
        }
        kill_9(job)
    done = launch(raw, "--resume")  # the lock of a killed job is nobody's
    assert done.returncode == 0, done.stderr
    assert [record["event"] for record in read_metrics(run_dir)] == ["epoch"] * 3 + ["end"]


@pytest.mark.slow
def test_a_worker_that_outlives_its_job_does_not_keep_the_lock(recipe, few_digits, arguments, launch):
    raw = recipe(
        data={**few_digits, "workers": 1}, training={"epochs": 2, "batch_size": 16, "checkpoint_every": 2}
    )
    with Forked([HELD, 1, *arguments(raw)[2:]], env=environment(), stdout=subprocess.DEVNULL) as job:
        wait_for_checkpoint_in_epoch(parse_config(raw).run_dir / "checkpoints", 1, job)
        workers = psutil.Process(job.pid).children(recursive=True)
        assert workers
        for worker in workers:
            worker.suspend()
        job.kill()
        job.wait()
        try:
            done = launch(raw, "--resume")
            assert all(worker.is_running() for worker in workers)
        finally:
            for worker in workers:
                worker.kill()
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_stages_are_locked_together(recipe, few_digits, arguments, tmp_path):
    for stage in ("first", "second"):
        arguments(recipe(name=stage, data=few_digits, training={"epochs": 1, "batch_size": 16}))
    (tmp_path / "chain.yaml").write_text("stages: {one: first.yaml, two: second.yaml}")
    chain = ["-m", "sadp_dist", "train", str(tmp_path / "chain.yaml")]
    with stopped(chain, tmp_path / "second") as job:
        alone = ["-m", "sadp_dist", "train", str(tmp_path / "second.yaml"), "--overwrite"]
        refused(run_forked(alone, env=environment()), tmp_path / "second", job.pid)


def test_a_refused_run_leaves_no_directory(recipe, launch):
    folder = parse_config(recipe()).run_dir
    done = launch(recipe(output=str(folder / "deeper" / "run"), data={"classes": 3}))
    assert done.returncode == 2 and "data.classes=3" in done.stderr, done.stderr
    assert not folder.exists()


def test_a_lock_left_by_a_killed_process_is_taken(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdin=-1, stdout=-1) as holder:
        assert holder.stdout.readline() == b"has it\n"
        with pytest.raises(UsageError, match=f"in use .* .process {holder.pid} on "), locked(tmp_path):
            pass
        holder.kill()
    assert (tmp_path / LOCK_FILE).exists()
    with locked(tmp_path), locked(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK_FILE).exists() and tmp_path.exists()


def test_ranks_that_torchrun_starts_again_wait_for_those_before_them(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "PATIENCE", 0.0)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job")
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdin=-1, stdout=-1) as holder:
        assert holder.stdout.readline() == b"has it\n"
        with monkeypatch.context() as other, pytest.raises(UsageError, match="in use"):
            other.setenv("TORCHELASTIC_RUN_ID", "another")
            with locked(tmp_path):
                pass
        threading.Timer(1.0, holder.kill).start()
        with locked(tmp_path):
            assert holder.wait() == -signal.SIGKILL


def test_a_file_system_without_locks_is_warned_of(tmp_path):
    (tmp_path / "locks.c").write_text(WITHOUT_LOCKS)
    library = tmp_path / "locks.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "locks.c"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", HOLDER, tmp_path / "run"],
        **{"env": {**os.environ, "LD_PRELOAD": str(library)}, "input": "", "text": True},
        capture_output=True,
    )
    assert done.stdout == "has it\n", done.stderr
    assert f"output={tmp_path / 'run'} is on a file system without locks (No locks available)" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    run_dir = tmp_path / "file" / "run"
    with pytest.raises(UsageError, match="run cannot be written .Not a directory.; ch"), locked(run_dir):
        pass
