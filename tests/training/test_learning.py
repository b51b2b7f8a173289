"""Learning rules in whole runs: with every way to prune, resumed, and on two ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from sadp_dist.errors import UsageError
from sadp_dist.snn import LEARNING_RULES
from sadp_dist.training import parse_config, read_metrics, train
from tests.forked import run_ranks
from tests.training.conftest import environment, newest_state
from tests.training.gradients import gradients_of_an_epoch
from tests.training.interruption import interrupted_after
from tests.training.test_resume import TIMES

DETAILS = {"tbptt": {"steps": 1}, "sltt": {"backward_steps": 1}}


@pytest.fixture
def raw(recipe, few_digits):
    """A run of some seconds, whose losses are those of each time step."""

    def make(**sections):
        training = {"epochs": 3, "batch_size": 32, "loss": "tet", **sections.pop("training", {})}
        return recipe(
            data={**few_digits, "std": [32.0] * 3}, training=training, tracking={"trackers": []}, **sections
        )

    return make


@pytest.fixture
def few_sequences(tmp_path):
    """Features of four classes over eight time steps, as a `data:` section: a tone that rises."""
    pytest.importorskip("ffcv")
    from sadp_dist.loading import write_arrays

    for seed, (split, size) in enumerate((("train", 200), ("test", 80))):
        x = np.random.default_rng(seed).uniform(0, 0.4, (size, 8, 14)).astype(np.float32)
        for i, features in enumerate(x):
            for t in range(8):
                features[t, 2 * (i % 4) + t // 2 : 2 * (i % 4) + t // 2 + 2] += 1
        write_arrays([(each, i % 4) for i, each in enumerate(x)], tmp_path / f"{split}.beton", workers=1)
    return {split: str(tmp_path / f"{split}.beton") for split in ("train", "test")}


@pytest.mark.parametrize(
    ("rule", "method"),
    [(rule, "sadp") for rule in LEARNING_RULES if rule not in ("bptt", "eprop")]
    + [("sltt", "random"), ("decolle", "infobatch")],
)
def test_every_rule_learns_whatever_prunes(raw, rule, method):
    learning = {"rule": rule, **DETAILS.get(rule, {})}
    training = {"epochs": 5, "learning_rate": 0.01}
    config = parse_config(raw(learning=learning, training=training, pruning={"method": method}))
    end = train(config, show=False)
    assert end["test_accuracy"] > 0.2  # of 0.1 by chance
    losses = [row["loss"] for row in read_metrics(config.run_dir) if row["event"] == "epoch"]
    assert losses[-1] < losses[0]


def test_e_prop_learns_from_sequences(tmp_path, few_sequences):
    config = parse_config(
        {
            "name": "eprop",
            "output": str(tmp_path / "{name}"),
            "data": few_sequences,
            "network": {"name": "recurrent_snn_plain", "time_steps": 8, "neuron": {"decay": 0.7}},
            "learning": {"rule": "eprop", "feedback": "random"},
            "training": {
                **{"epochs": 4, "batch_size": 20, "loss": "tet", "tet_lambda": 0.0},
                **{"optimizer": "adamw", "learning_rate": 0.003},
            },
            "pruning": {"ratio": 0.3, "max_ratio": 0.5, "min_probability": 0.3},
            "tracking": {"trackers": []},
        }
    )
    assert train(config, show=False)["test_accuracy"] > 0.6  # of 0.25 by chance


def test_what_a_rule_has_itself_is_in_checkpoints(raw):
    """ELL's classifiers learn: a run that goes on without them would be another."""
    sections = {"learning": {"rule": "ell"}, "training": {"checkpoint_every": 2}}
    straight = parse_config(raw(**sections))
    train(straight, show=False)
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(straight.run_dir)]
    expected = newest_state(straight.run_dir)
    assert any("classifiers" in name for name in expected["learning"])

    resumed = parse_config({**raw(**sections), "name": "resumed"})
    with interrupted_after(batches=4):
        train(resumed, show=False)
    train(resumed, "resume", show=False)
    again = [{k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(resumed.run_dir)]
    assert again == rows
    found = newest_state(resumed.run_dir)
    for part in ("network", "learning"):
        assert expected[part].keys() == found[part].keys()
        assert all(torch.equal(expected[part][key], found[part][key]) for key in expected[part])


@pytest.mark.slow
def test_two_ranks_have_the_gradients_of_one(raw, tmp_path):
    sections = {"learning": {"rule": "decolle"}, "pruning": {"method": "full"}}
    training = {"epochs": 1, "batch_size": 40, "optimizer": "sgd", "learning_rate": 1e-12, "momentum": 0.0}
    training["channels_last"] = True
    written = raw(**sections, training=training)
    alone = gradients_of_an_epoch(parse_config(written), 1)
    config, out = tmp_path / "gradients.yaml", tmp_path / "gradients.pt"
    config.write_text(yaml.safe_dump(written), encoding="utf-8")
    script = Path(__file__).with_name("gradients.py")
    done = run_ranks([script, config, out, "2"], 2, env=environment())
    assert done.returncode == 0, done.stderr
    together = torch.load(out, weights_only=True)[2]
    assert together.shape == alone.shape
    assert (alone.norm(dim=1) > 0).all()
    assert ((together - alone).norm(dim=1) < 1e-5 * alone.norm(dim=1)).all()


@pytest.mark.parametrize(
    "sections, said",
    [
        (
            {"training": {"loss": "cross-entropy"}},
            "needs the loss of each time step, but training.loss=cross-entropy .* use training.loss=tet",
        ),
        ({"training": {"compile": True}}, "training.compile=true needs whole forward passes"),
        ({"network": {"neuron": {"kind": "psn"}}}, "needs single time steps, but PSN"),
    ],
)
def test_combinations_that_make_no_sense_are_refused_before_anything_is_written(raw, sections, said):
    config = parse_config(raw(learning={"rule": "sltt"}, **sections))
    with pytest.raises(UsageError, match=said):
        train(config, show=False)
    assert not config.run_dir.exists()


def test_unknown_rules_and_keys_are_refused(raw):
    with pytest.raises(UsageError, match='learning.rule=.bptl. is not known; use one of "bptt", .* "bptt"'):
        train(parse_config(raw(learning={"rule": "bptl"})), show=False)
    with pytest.raises(UsageError, match='learning.steps is an option of rule="tbptt", and rule is "sltt"'):
        parse_config(raw(learning={"rule": "sltt", "steps": 2}))
