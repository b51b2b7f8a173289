"""The examples run as their docstrings say, on one process and on two, and train on what the plan says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sadp_dist import PruningConfig, open_snapshot
from sadp_dist.loading import write_beton
from sadp_dist.store.engine.snapshot import Snapshot
from tests.forked import run_forked, run_ranks

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "1"}

Run = Callable[..., list[tuple[int, float]]]


@pytest.fixture
def run(tmp_path) -> Run:
    """Runs a command in an empty folder; gives examples trained on and test accuracy of each epoch.

    With `ranks`, the command is what follows `python`, and is run by so many ranks.
    """

    def start(*command: object, ranks: int | None = None) -> list[tuple[int, float]]:
        if ranks is None:
            done = subprocess.run(
                list(map(str, command)),
                cwd=tmp_path,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                timeout=280,
            )
        else:
            done = run_ranks(command, ranks, cwd=tmp_path, env=ENVIRONMENT, timeout=280)
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.findall(r"epoch +(\d+): trained on (\d+), test accuracy ([\d.]+)%", done.stdout)
        by_epoch = {int(epoch): (int(count), float(accuracy)) for epoch, count, accuracy in found}
        assert sorted(by_epoch) == list(range(1, 11)), done.stdout + done.stderr
        assert len(found) == 10, f"more than one rank has printed: {done.stdout}"
        return list(by_epoch.values())

    return start


def trained_on_what_was_planned(scores: Path, epochs: list[tuple[int, float]]) -> bool:
    """Each epoch's subset, split over the ranks, was trained on, each example of it once."""
    store, saved = open_snapshot(scores), Snapshot.read(scores)
    planned = [record.drawn for record in store.history()]
    assert planned == [count for count, _ in epochs]
    # In all as many scores as examples drawn; in the last epoch those, and no others, have a new one.
    assert store.stats().pushed_scores == sum(planned)
    (scored,) = np.nonzero(saved.table.score_epochs == 9)
    return np.array_equal(scored, np.sort(saved.plans[-1].indices))


def sizes(dataset_size: int, ratio: float, max_ratio: float) -> list[int]:
    rule = PruningConfig(ratio=ratio, max_ratio=max_ratio, epochs=10).rule
    return [round((1 - rule.ratio(epoch)) * dataset_size) for epoch in range(10)]


@pytest.mark.parametrize("processes", [1, 2])
def test_lightning(processes, run, tmp_path):
    pytest.importorskip("lightning")
    python = [] if processes == 1 else [sys.executable]  # Lightning starts a second one by the same command
    epochs = run(*python, EXAMPLES / "lightning_digits.py", processes, ranks=1 if processes == 1 else None)
    assert [count for count, _ in epochs] == sizes(1400, 0.5, 0.7)
    assert trained_on_what_was_planned(tmp_path / "lightning_digits.npz", epochs)
    assert epochs[-1][1] > 90


@pytest.mark.parametrize("launcher", ["accelerate launch", "torchrun"])
def test_accelerate(launcher, run, tmp_path):
    pytest.importorskip("accelerate")
    if launcher == "torchrun":
        epochs = run(EXAMPLES / "accelerate_digits.py", ranks=2)
    else:
        epochs = run(sys.executable, "-m", "accelerate.commands.launch", EXAMPLES / "accelerate_digits.py")
    assert [count for count, _ in epochs] == [700] * 10
    assert trained_on_what_was_planned(tmp_path / "accelerate_digits.npz", epochs)
    assert epochs[-1][1] > 90


def test_a_text_classifier_in_hugging_faces_trainer(run, tmp_path):
    pytest.importorskip("transformers")
    epochs = run(EXAMPLES / "huggingface_text.py", ranks=1)
    assert len({count for count, _ in epochs}) == 1
    assert trained_on_what_was_planned(tmp_path / "huggingface_text.npz", epochs)
    assert epochs[-1][1] > 75


def test_a_network_without_spikes(run):
    epochs = run(EXAMPLES / "resnet_digits.py", ranks=1)
    assert [count for count, _ in epochs] == [700] * 10
    assert epochs[-1][1] > 90


def test_ffcv(run, tmp_path):
    assert run_forked([EXAMPLES / "digits_images.py", tmp_path / "images"]).returncode == 0
    for split in ("train", "test"):
        write_beton(tmp_path / "images", tmp_path / f"{split}.beton", split=split)
    docstring = (EXAMPLES / "ffcv_imagenet.py").read_text().split('"""')[1]
    command = re.search(r"python examples/ffcv_imagenet.py (.*?)\n\n", docstring, re.DOTALL)[1]
    options = command.replace("\\", "").split()
    epochs = run(EXAMPLES / "ffcv_imagenet.py", *options, ranks=2)
    assert [count for count, _ in epochs] == sizes(1442, 0.35, 0.55)
    assert trained_on_what_was_planned(tmp_path / "ffcv_imagenet.npz", epochs)
    assert epochs[-1][1] > 80
