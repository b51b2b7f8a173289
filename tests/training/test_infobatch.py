"""InfoBatch as a whole run: its score is the loss, unless the configuration says otherwise."""

import numpy as np
import pytest
import torch

from sadp_dist.errors import UsageError
from sadp_dist.scoring import loss_scores
from sadp_dist.store import open_snapshot
from sadp_dist.training import parse_config, read_metrics, train
from sadp_dist.training.processes import Process
from sadp_dist.training.trainer import Trainer


def test_it_trains_on_all_data_first_and_last_and_on_less_between(recipe):
    pruning = {"method": "infobatch", "ratio": 0.3, "max_ratio": None, "stratify": "none"}
    config = parse_config(recipe(pruning=pruning, training={"epochs": 8}))
    summary = train(config)
    epochs = [record for record in read_metrics(config.run_dir) if record["event"] == "epoch"]
    kept = [record["examples"] for record in epochs]
    assert kept[0] == kept[-1] == 1442
    assert kept[1:-1] == pytest.approx([0.6 * 1442] * 6, abs=2)  # 0.3 of all 8 epochs is 0.4 of 6
    assert [record["ratio"] for record in epochs] == pytest.approx([1 - n / 1442 for n in kept], abs=1e-3)
    assert summary["test_accuracy"] > 0.8
    store = open_snapshot(config.run_dir)
    # The last epoch saw every example once, so that its mean loss is that of the scores.
    assert np.mean(store.scores(np.arange(1442))) == pytest.approx(epochs[-1]["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("method", "score", "found"),
    [
        ("infobatch", None, "loss"),
        ("infobatch", "gradient", "gradient"),
        ("sadp", None, "gradient"),
        ("sadp", "loss", "loss"),
        ("random", "loss", None),
    ],
)
def test_a_rule_has_its_own_score_which_a_configuration_may_replace(recipe, method, score, found):
    raw = recipe(pruning={"method": method}, scoring={"score": score})
    trainer = Trainer(parse_config(raw), Process(rank=0, world_size=1, device=torch.device("cpu")))
    assert trainer.score == found
    assert (trainer.learner.scorer is not None) == (found == "gradient")


def test_fills_have_no_loss():
    losses = torch.tensor([0.5, 2.0, 0.0], requires_grad=True)
    scores = loss_scores(losses, torch.tensor([0.1, 0.0, 3.0]))
    assert scores.isnan().tolist() == [False, True, False]
    assert scores[[0, 2]].tolist() == [0.5, 0.0]
    assert not scores.requires_grad


def test_an_unknown_score_is_refused(recipe):
    with pytest.raises(UsageError, match="scoring.score='los' is not known"):
        parse_config(recipe(scoring={"score": "los"}))
