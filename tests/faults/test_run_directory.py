"""What happens to a run directory while `sadp-dist train` writes to it, or before it goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sadp_dist.training import load_config
from tests.faults.case import GOES_ON, MIDDLE, Case, Outcome
from tests.faults.test_elastic_training import ENVIRONMENT, check_same, recipe
from tests.forked import Forked, rank_environments, run_forked, run_ranks
from tests.mounted import fill, small_disk
from tests.training.test_resume import HELD, flip_a_bit, kill_9, wait_for_checkpoint_in_epoch

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
RANKS = 2


def second_job(folder: Path, undisturbed: Path, option: str) -> str:
    """Start a second job on the run directory of one that is stopped in an epoch and goes on afterwards."""
    path = recipe(folder, "disturbed", "memory:")
    words = ["-m", "sadp_dist", "train", path]
    log = path.with_suffix(".log").open("wb")
    ranks = [
        Forked(words, env={**ENVIRONMENT, **rank}, stdout=log, stderr=subprocess.STDOUT)
        for rank in rank_environments(RANKS)
    ]
    try:
        wait_for_checkpoint_in_epoch(load_config(path).run_dir / "checkpoints", 1, ranks[0])
        for rank in ranks:
            os.kill(rank.pid, signal.SIGSTOP)
        second = run_ranks([*words, option], RANKS, env=ENVIRONMENT)
        for rank in ranks:
            os.kill(rank.pid, signal.SIGCONT)
        assert [rank.wait() for rank in ranks] == [0] * RANKS, path.with_suffix(".log").read_text()
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    check_same(load_config(undisturbed).run_dir, load_config(path).run_dir)
    assert second.returncode == 2 and str(ranks[0].pid) in second.stderr, second.stderr
    return f"{GOES_ON}; the second job is refused: {said(second.stderr)}"


def flipped_bit(folder: Path, undisturbed: Path, file: str) -> str:
    """Flip a bit in the newest checkpoint of a killed job, and do what `--resume` then says."""
    path = recipe(folder, "disturbed", "memory:")
    words = ["train", path]
    ranks = [
        Forked([HELD, 1, *words], env={**ENVIRONMENT, **rank}, stdout=subprocess.DEVNULL)
        for rank in rank_environments(RANKS)
    ]
    newest = wait_for_checkpoint_in_epoch(load_config(path).run_dir / "checkpoints", 1, ranks[0])
    for rank in ranks:
        kill_9(rank)
    flip_a_bit(newest / file)
    resume = ["-m", "sadp_dist", *words, "--resume"]
    refused = run_ranks(resume, RANKS, env=ENVIRONMENT)
    assert refused.returncode == 2, refused.stderr
    subprocess.run(refused.stderr.partition("whole: ")[2], shell=True, check=True)
    assert not newest.exists()
    resumed = run_ranks(resume, RANKS, env=ENVIRONMENT)
    assert resumed.returncode == 0, resumed.stderr
    check_same(load_config(undisturbed).run_dir, load_config(path).run_dir)
    return f"stops: {said(refused.stderr)}; {GOES_ON} once that is done"


def full_disk(folder: Path, undisturbed: Path, mebibytes: int) -> str:
    """Fill the disk of a running job, and continue once there is space again."""
    path = recipe(folder, "disturbed", "memory:")
    with small_disk(folder / "small", mebibytes) as small:
        # With a checkpoint after every step, it is a checkpoint that finds the disk full.
        more = ["training.checkpoint_every=1", "tracking.trackers=[]"]
        words = [path, f"output={small}/disturbed", *more]
        log = path.with_suffix(".log")
        ranks = [
            Forked(
                ["-m", "sadp_dist", "train", *words],
                **{"env": {**ENVIRONMENT, **rank}, "stdout": subprocess.DEVNULL, "stderr": log.open("ab")},
            )
            for rank in rank_environments(RANKS)
        ]
        try:
            wait_for_checkpoint_in_epoch(small / "disturbed" / "checkpoints", 1, ranks[0])
            for rank in ranks:
                os.kill(rank.pid, signal.SIGSTOP)
            filler = fill(small)
            for rank in ranks:
                os.kill(rank.pid, signal.SIGCONT)
            assert [rank.wait() for rank in ranks] == [1] * RANKS, log.read_text()
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
        assert not list((small / "disturbed").rglob(".*"))  # neither a lock nor a part of a checkpoint
        filler.unlink()
        resumed = run_ranks(["-m", "sadp_dist", "train", *words, "--resume"], RANKS, env=ENVIRONMENT)
        assert resumed.returncode == 0, resumed.stderr
        check_same(load_config(undisturbed).run_dir, small / "disturbed")
        return f"stops: {said(log.read_text())}; {GOES_ON} with `--resume` once there is space"


def said(stderr: str) -> str:
    """Return the one line of a command, without what differs from time to time."""
    (line,) = stderr.splitlines()
    line = re.sub(r"process \d+ on \S+, since [-0-9: ]+ UTC", "process PID on HOST, since TIME", line)
    line = re.sub(r"\S+ in (state.pt|store.npz) does", r"PART in \1 does", line)
    line = re.sub(r"e\d{4}-b\d{6} cannot", "NAME cannot", re.sub(r"[\d.]+ MiB", "SIZE", line))
    return f"“{re.sub(r'/[^ ,;]*/disturbed', 'RUN_DIR', line.removeprefix('sadp-dist: '))}”"


FAULTS: dict[str, tuple[Callable[..., str], Any]] = {
    "`sadp-dist train --resume` on the run directory of a running job": (second_job, "--resume"),
    "`sadp-dist train --overwrite` on the run directory of a running job": (second_job, "--overwrite"),
    "a bit flipped in the weights of the newest checkpoint, `--resume`": (flipped_bit, "state.pt"),
    "a bit flipped in the scores of the newest checkpoint, `--resume`": (flipped_bit, "store.npz"),
    "the disk is full": (full_disk, 16),
}
CASES = [Case(fault, MIDDLE, "memory") for fault in FAULTS]


def observe(case: Case, folder: Path) -> Outcome:
    assert run_forked([ROOT / "examples" / "digits_images.py", folder / "images"]).returncode == 0
    undisturbed = recipe(folder, "undisturbed", "memory:")
    done = run_ranks(["-m", "sadp_dist", "train", undisturbed], RANKS, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    make, option = FAULTS[case.fault]
    return Outcome(make(folder, undisturbed, option), None)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_run_directory_is_safe(running, check_row, case):
    check_row(case, running[case].result())
