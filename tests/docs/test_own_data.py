"""The commands of docs/own-data.md do what the page says, on a part of its data."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from sadp_dist.cli.main import app
from sadp_dist.training import read_metrics
from tests.data.published import tone, wav_bytes
from tests.data.test_nmnist import bin_bytes, write_zip

pytest.importorskip("ffcv")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
N_MNIST, SPOKEN, MINE = re.findall(r"^<!-- run by .*? -->\n```sh\n(.*?)^```$", PAGE, re.M | re.S)


def commands_in(block: str) -> list[list[str]]:
    """The arguments of each `sadp-dist` of a block, whose only loop is that over the splits."""
    lines = re.sub(r"\\\n", " ", block).splitlines()
    commands = []
    for line in lines:
        line = line.strip()
        for split in ("train", "test") if "$split" in line else ("",):
            if line.startswith("sadp-dist"):
                commands.append(shlex.split(line.replace("$split", split))[1:])
    return commands


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the commands of a block in an empty folder with one epoch per recipe."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")

    def run_commands(block: str) -> str:
        said = ""
        for arguments in commands_in(block):
            quick = ["training.epochs=1"] if arguments[0] == "train" else ["--workers", "1"]
            done = CliRunner().invoke(app, [*arguments, *quick])
            assert done.exit_code == 0, f"{arguments}: {done.output} {done.exception}"
            said += done.output
        return said

    return run_commands


def accuracy(name: str) -> float:
    found: float = read_metrics(Path("runs", name))[-1]["test_accuracy"]
    return found


def sample(name: str, into: Path, every: int) -> bool:
    """Write every n-th file of the real archive; False if it is not here."""
    archive = Path(os.environ.get("SADP_DIST_DATA") or "nowhere") / name
    if not archive.is_file():
        return False
    with zipfile.ZipFile(archive) as found:
        write_zip(into / name, {one: found.read(one) for one in sorted(found.namelist())[::every]})
    return True


def test_n_mnist_is_written_and_trained_on(run, tmp_path):
    if not sample("nmnist-small.zip", tmp_path, every=7):
        files = {
            f"{split}/{n % 10}/{n}.bin": bin_bytes(500, n) for split in ("Train", "Test") for n in range(40)
        }
        write_zip(tmp_path / "nmnist-small.zip", files)
    said = run(N_MNIST)
    assert re.search(r"wrote \d+ examples of 10 classes to data/nmnist/train\.beton", said)
    assert 0 <= accuracy("nmnist-small-sadp") <= 1


def test_spoken_digits_are_written_and_trained_on(run, tmp_path):
    if not sample("spoken-digits.zip", tmp_path, every=37):
        files = {
            f"recordings/{n % 10}_{who}_{n // 10}.wav": wav_bytes(tone(200 + 100 * (n % 10), 0.4))
            for who in ("ann", "bo")
            for n in range(60)
        }
        write_zip(tmp_path / "spoken-digits.zip", files)
    said = run(SPOKEN)
    assert re.search(r"wrote \d+ examples of 10 classes to data/spoken-digits/test\.beton", said)
    assert 0 <= accuracy("spoken-digits-sadp") <= 1


@pytest.mark.usefixtures("registries_restored")
def test_a_reader_of_ones_own_is_used_by_the_commands_and_the_configuration(run, tmp_path, monkeypatch):
    code = next(code for code in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S) if "class" in code)
    (tmp_path / "my_events.py").write_text(code)
    monkeypatch.delitem(sys.modules, "my_events", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S)
    config = yaml.safe_load((ROOT / "configs" / "nmnist-small.yaml").read_text()) | yaml.safe_load(shown)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for word, low in (("left", 0), ("right", 16)):
            folder = tmp_path / "recordings" / split / word
            folder.mkdir(parents=True)
            for number in range(20):
                x, y, p = (
                    draw.integers(low, low + 16, 200),
                    draw.integers(0, 32, 200),
                    draw.integers(0, 2, 200),
                )
                np.savez(folder / f"{number}.npz", t=np.sort(draw.integers(0, 1000, 200)), x=x, y=y, p=p)
    said = run(MINE)
    assert "wrote 40 examples of 2 classes to data/mine/train.beton" in said
    assert accuracy("mine") >= 0.5
    config["data"] |= {"train": "recordings", "test": "recordings", "loader": "torch", "workers": 0}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config | {"name": "straight"}))
    done = CliRunner().invoke(app, ["train", "mine.yaml", "training.epochs=1", "network.time_steps=3"])
    assert done.exit_code == 0, done.output
    assert accuracy("straight") >= 0.5
    monkeypatch.delitem(sys.modules, "my_events", raising=False)
