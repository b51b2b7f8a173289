"""The commands of docs/clusters.md for one machine run as they stand there."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.forked_commands import ForkedCommands
from tests.launch.conftest import ROOT

pytestmark = pytest.mark.slow

COMMANDS = re.compile(
    r"^<!-- run by tests/launch/test_clusters_document.py -->\n```sh\n(.*?)```$", re.M | re.S
)


def test_the_commands_for_one_machine_run(environment, recipe, tmp_path):
    (tmp_path / "launch").symlink_to(ROOT / "launch")
    (tmp_path / "configs").mkdir()
    shutil.copy(recipe, tmp_path / "configs" / "digits.yaml")
    commands = COMMANDS.findall((ROOT / "docs" / "clusters.md").read_text())
    assert len(commands) == 2
    said = ""
    with ForkedCommands() as forked:
        for command in commands:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=tmp_path,
                env={**environment, **forked.found},
                capture_output=True,
                text=True,
                timeout=240,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            said += done.stdout
    assert said.count("configs/digits.yaml: run 'two' can start") == 2
    assert re.search(r"^epoch +2/2 ", said, re.M)
    assert (tmp_path / "runs" / "two" / "checkpoints").is_dir()
