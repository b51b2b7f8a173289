"""The commands of docs/stores.md do what the page says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.forked_commands import ForkedCommands
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "stores.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_commands_for_redis_train_answer_and_clean_up(tmp_path):
    commands = re.search(r"```sh\n(redis-server.*?)```", DOCUMENT, re.DOTALL).group(1)
    port = str(free_port())
    commands = commands.replace("6379", port).replace("digits.yaml", "digits.yaml training.epochs=2")
    commands = commands.replace("torchrun", "torchrun --rdzv-backend c10d --rdzv-endpoint localhost:0")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    script = f"""set -euo pipefail
    python {ROOT}/examples/digits_images.py data/digits/images
    for split in train test; do
      sadp-dist beton data/digits/images data/digits/$split.beton --split $split
    done
    trap 'kill %1; wait; redis-cli -p {port} shutdown nosave' EXIT
    {commands}"""
    # SIGTERM, so that a script that takes too long still stops its servers
    bash = ["timeout", "--kill-after=20", "540", "bash", "-c", script]
    with ForkedCommands() as commands:
        environment = {**commands.environment, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(bash, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    epochs, runs, stats, top, removed = (
        done.stdout.find(text)
        for text in ("epoch   2/2", "created", "effective sample size", "highest scores", "removed")
    )
    assert 0 < epochs < runs < stats < top < removed, done.stdout + done.stderr
    assert (tmp_path / "runs" / "digits-pruned" / "metrics.jsonl").exists()
