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
from tests.training.test_resume import wait_for_checkpoint_in_epoch

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


def said(stderr: str) -> str:
    """Return the one line of a command, without what differs from time to time."""
    (line,) = stderr.splitlines()
    line = re.sub(r"process \d+ on \S+, since [-0-9: ]+ UTC", "process PID on HOST, since TIME", line)
    return f"“{re.sub(r'/[^ ,;]*/disturbed', 'RUN_DIR', line.removeprefix('sadp-dist: '))}”"


FAULTS: dict[str, tuple[Callable[..., str], Any]] = {
    "`sadp-dist train --resume` on the run directory of a running job": (second_job, "--resume"),
    "`sadp-dist train --overwrite` on the run directory of a running job": (second_job, "--overwrite"),
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
