"""`python -m benchmarks` refuses what it does not know in one line, and has a title for all that it knows."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import NAMES, ROOT, app, title_of
from benchmarks.planning import compare_with
from sadp_dist.errors import UsageError


def run(*arguments, **environment):
    return CliRunner(env={"SADP_DIST_DATA": "", "SADP_DIST_PEERS": "", **environment}).invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "no benchmark nonsense; there are"),
        (("--short", "--data", "/nowhere"), "--data=/nowhere is not a folder"),
        (("--short", "--peers", "/nowhere"), "--peers=/nowhere is not a folder"),
        (("--check",), "add --short"),
        (("--record",), "add --short"),
        (("--short", "--check", "--record"), "one of them"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_measured(arguments, said):
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert said in " ".join(refused.output.split())


def test_a_folder_in_the_environment_is_looked_at_too():
    assert run("--short", SADP_DIST_DATA="/nowhere").exit_code == 2


def test_a_revision_that_git_does_not_have_is_refused_in_one_line():
    with pytest.raises(UsageError, match="--against=no-such: git cannot read it") as refused:
        compare_with("no-such")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_has_a_title(name):
    title = title_of(name)
    assert title and '"' not in title and not title.endswith(".")


@pytest.mark.slow
def test_the_command_lists_the_benchmarks():
    command = [sys.executable, "-m", "benchmarks", "--help"]
    helped = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in NAMES:
        assert name in helped.stdout
