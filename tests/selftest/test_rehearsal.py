"""`sadp-dist selftest --gpu --rehearse` runs every check of the GPU on the CPU."""

import json
import os
import subprocess
import sys

import pytest

from sadp_dist.selftest.part import PARTS
from tests.forked import run_forked

COMMAND = ["-m", "sadp_dist", "selftest"]
ONLY_ON_CUDA = ("memopt level 2", "memopt level 3", "memopt level 4", "kernels", "a compiled run")


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """The finished command, and its record. It may take as long as a busy machine needs."""
    out = tmp_path_factory.mktemp("rehearsal")
    command = [sys.executable, *COMMAND, "--gpu", "--rehearse", "--minutes", "60", "--out", out]
    # torch's own threads would wait for those of other tests
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return done, json.loads((out / "rehearsal.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_rehearsal_passes_every_check_that_needs_no_gpu(rehearsal):
    done, record = rehearsal
    assert done.returncode == 0, done.stdout + done.stderr
    expected = [(part.name, check.name) for part in PARTS for check in part.checks]
    assert [(check["part"], check["name"]) for check in record["checks"]] == expected
    for check in record["checks"]:
        assert check["state"] in ("ok", "skipped"), check
        if check["state"] == "skipped":
            missing = "not installed" in check["reason"] or "cifar10.zip" in check["reason"]
            assert missing or any(words in check["name"] for words in ONLY_ON_CUDA), check
        else:
            assert check["figures"], check


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_command_says_what_is_missing(rehearsal):
    done, record = rehearsal
    missing = record["checks"][0]["figures"]["missing"]
    assert missing in done.stdout
    assert "cupy" in missing  # nothing here installs it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--gpu is missing"),
        (["--gpu", "--rehearse", "--only", "costs"], "--only='costs'"),
        (["--gpu", "--rehearse", "--data", "/dev"], "--data /dev has no cifar10.zip"),
    ],
)
def test_a_wrong_option_is_one_line(arguments, message):
    environment = {key: value for key, value in os.environ.items() if key != "SADP_DIST_DATA"}
    done = run_forked([*COMMAND, *arguments], env=environment)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
