"""A `Pruner` on two ranks gives every example the score that it has on one."""

from pathlib import Path

import numpy as np
import pytest

from sadp_dist import open_snapshot
from tests.forked import run_ranks
from tests.pruner.test_pruner import N, Run

RANK = Path(__file__).with_name("pruner_rank.py")


@pytest.mark.parametrize("way", ["ddp", "accumulating", "fsdp2"])
def test_two_ranks_give_the_scores_of_one(way, tmp_path):
    done = run_ranks([RANK, way, tmp_path / "store.npz"], 2)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    assert done.stdout.startswith("3 epochs: trained on 96 of 192 examples (50.0% left out)")
    alone = Run(rate=0).train()
    scores = open_snapshot(tmp_path / "store.npz").scores(np.arange(N))
    np.testing.assert_allclose(scores, alone.scores, rtol=1e-4)
