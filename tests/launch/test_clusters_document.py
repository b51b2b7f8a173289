"""The commands of docs/clusters.md for one machine run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.conftest import ROOT

pytestmark = pytest.mark.slow

COMMANDS = re.compile(
    r"^<!-- run by tests/launch/test_clusters_document.py -->\n```sh\n(.*?)```$", re.M | re.S
)


def test_the_commands_for_one_machine_run(environment, digits, tmp_path):
    (tmp_path / "launch").symlink_to(ROOT / "launch")
    (tmp_path / "configs").mkdir()
    recipe = (ROOT / "configs" / "digits.yaml").read_text().replace("epochs: 30", "epochs: 1")
    (tmp_path / "configs" / "digits.yaml").write_text(recipe)
    bin = Path(sys.executable).parent
    (tmp_path / "data" / "digits").mkdir(parents=True)
    for split in ("train", "test"):
        beton = ["beton", digits, tmp_path / "data" / "digits" / f"{split}.beton", "--split", split]
        subprocess.run([bin / "sadp-dist", *beton], check=True, stdout=subprocess.DEVNULL)

    commands = COMMANDS.findall((ROOT / "docs" / "clusters.md").read_text())
    assert len(commands) == 2
    said = ""
    for command in commands:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=tmp_path,
            env={**environment, "PATH": f"{bin}{os.pathsep}{environment['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said += done.stdout
    assert said.count("configs/digits.yaml: run 'digits-sadp' can start") == 2
    assert re.search(r"^epoch +1/1 ", said, re.M)
    assert (tmp_path / "runs" / "digits-sadp" / "checkpoints").is_dir()
