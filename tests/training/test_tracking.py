"""Tracking: all data first, then the network anew on a fixed subset; a run goes on from any place."""

from __future__ import annotations

import pytest
import torch

from sadp_dist.errors import UsageError
from sadp_dist.training import parse_config, train
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.optimizer import cosine_rate
from sadp_dist.training.phases import Phase, Phases
from sadp_dist.training.processes import Process
from sadp_dist.training.progress import Progress
from sadp_dist.training.trainer import Trainer
from tests.training.resumed import records, resumes_alike


@pytest.fixture
def raw(recipe, few_digits):
    return recipe(
        name="straight",
        data=few_digits,
        network={"time_steps": 1},
        training={"epochs": 2, "batch_size": 32, "checkpoint_every": 2, "keep_checkpoints": 20},
        pruning={"method": "forgetting", "tracking_epochs": 2, "stratify": "none"},
        tracking={"trackers": []},
    )


def test_a_run_goes_on_from_any_checkpoint_of_either_phase(raw):
    straight = parse_config(raw)
    summary = train(straight)
    rows = records(straight.run_dir)
    assert [row["examples"] for row in rows[:-1]] == [160, 160, 80, 80]
    assert [row["ratio"] for row in rows[:-1]] == [0, 0, 0.5, 0.5]
    assert ["test_accuracy" in row for row in rows[:-1]] == [False, False, True, True]
    assert (summary["tracking_examples"], summary["total_examples"]) == (320, 480)
    assert 0 < summary["tracking_seconds"] < summary["total_seconds"]
    assert (summary["asked_ratio"], summary["achieved_ratio"]) == (0.5, 0.5)
    # In tracking, at its end, and in the middle of the first epoch after it.
    for name in ("e0001-b000002", "e0002-b000000", "e0002-b000002"):
        resumes_alike(raw, name)


def test_after_tracking_weights_and_optimizer_are_those_of_a_run_that_begins(raw):
    raw["training"]["optimizer"] = "adamw"
    trainer = Trainer(parse_config(raw), Process(0, 1, torch.device("cpu")))
    first = {name: value.clone() for name, value in trainer.learner.network.state_dict().items()}
    silent = Progress("", 0, enabled=False), Checkpoints(parse_config(raw).run_dir)
    rates = []
    seen = []
    begin_weights = trainer._begin_weights

    def begin() -> None:
        begin_weights()
        seen.append((trainer.learner.network.state_dict(), len(trainer.learner.optimizer.state)))
        seen[-1] = ({name: value.clone() for name, value in seen[-1][0].items()}, seen[-1][1])

    trainer._begin_weights = begin
    for _ in range(4):
        rates.append(trainer.train_epoch(*reversed(silent))["learning_rate"])
    trainer.store.close()
    [(anew, steps)] = seen
    assert steps == 0
    assert all(torch.equal(first[name], anew[name]) for name in first)
    training = trainer.config.training
    batches = [5, 5, 3, 3]  # the rate of an epoch's last step
    assert rates == pytest.approx(
        [cosine_rate(training, done % 2 + 1 - 1 / n) for done, n in zip(range(4), batches, strict=True)]
    )


def test_the_rate_of_tracking_is_that_of_a_beginning():
    short, long = (Phases((Phase(0, n, 1, tracking=True), Phase(n, n + 10, 1)), planned=10) for n in (2, 20))
    assert short.on_schedule(1.5) == (1.5, 10)
    assert short.on_schedule(2.5) == (0.5, 10)
    assert long.on_schedule(1.5) == (1.5, 20)
    assert Phases((Phase(0, 5, 1),), planned=10).on_schedule(1.5) == (1.5, 5)  # reduced


def test_forgetting_is_counted_from_errors_alone(raw):
    with pytest.raises(UsageError, match='scoring.score="loss" does not go with pruning.method="forgetting"'):
        parse_config({**raw, "scoring": {"score": "loss"}})
