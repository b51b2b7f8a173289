"""RePB as a whole run: what training pushes, what is kept of it, and going on in the middle of an epoch."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from sadp_dist.errors import UsageError
from sadp_dist.store import open_snapshot
from sadp_dist.training import parse_config, read_metrics, train
from sadp_dist.training.achieved import differ_clearly, ratios, ratios_in_words
from sadp_dist.training.checkpoint import Checkpoints
from tests.training.conftest import newest_state
from tests.training.test_resume import TIMES


@pytest.fixture
def raw(recipe, few_digits):
    return recipe(
        name="straight",
        data=few_digits,
        network={"time_steps": 1},
        training={"epochs": 3, "batch_size": 32, "checkpoint_every": 2, "keep_checkpoints": 20},
        pruning={"method": "repb", "ratio": 0.1, "max_ratio": None, "stratify": "none"},
        scoring={"window": 3},
        tracking={"trackers": []},
    )


def test_a_run_counts_what_it_trains_on_and_goes_on_from_the_middle_of_an_epoch(raw):
    straight = parse_config(raw)
    train(straight)
    *epochs, end = [
        {k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(straight.run_dir)
    ]
    # A tenth of the three epochs, all of it in the one that has scores and is not the last.
    assert [row["examples"] for row in epochs] == [160, 112, 160]
    assert end["achieved_ratio"] == pytest.approx(0.1)
    scores = open_snapshot(straight.run_dir).scores(np.arange(160))
    assert np.floor(scores).sum() == end["total_examples"] == 432
    assert set(np.floor(scores).tolist()) == {2, 3}
    assert {score % 1 for score in scores.tolist()} == {0, 0.5}
    # Those left out in the second epoch weigh 3 / 2 in the third, the others 1.
    assert epochs[2]["largest_weight"] == pytest.approx(1.5)

    resumed = parse_config({**raw, "name": "resumed"})
    shutil.copytree(straight.run_dir, resumed.run_dir)
    names = [path.name for path in Checkpoints(straight.run_dir).all()]
    for later in names[names.index("e0001-b000002") + 1 :]:
        shutil.rmtree(resumed.run_dir / "checkpoints" / later)
    text = (straight.run_dir / "config.yaml").read_text()
    (resumed.run_dir / "config.yaml").write_text(text.replace("name: straight", "name: resumed"))
    train(resumed, "resume")
    np.testing.assert_array_equal(open_snapshot(resumed.run_dir).scores(np.arange(160)), scores)
    expected, found = newest_state(straight.run_dir), newest_state(resumed.run_dir)
    assert all(torch.equal(expected["network"][key], found["network"][key]) for key in found["network"])


def test_it_goes_by_its_own_score_alone(raw):
    with pytest.raises(UsageError, match='scoring.score="loss" does not go with pruning.method="repb"'):
        parse_config({**raw, "scoring": {"score": "loss"}})


def test_where_a_probability_is_asked_for_no_ratio_is(raw):
    raw["pruning"]["keep_probability"] = 0.5
    found = ratios(parse_config(raw).pruning, {"examples": 400}, 160)
    unknown = dict.fromkeys(("asked_ratio", "planned_ratio", "ratio_reason"))
    assert found == {**unknown, "achieved_ratio": pytest.approx(1 - 400 / 480)}
    assert ratios_in_words(found) == "left out 16.7% of all examples of all epochs"
    assert not differ_clearly(found)
