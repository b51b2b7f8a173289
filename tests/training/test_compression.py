"""Compression in whole runs: with learning rules and ways to prune, resumed, and its figures."""

from __future__ import annotations

import pytest
import torch

from sadp_dist.errors import UsageError
from sadp_dist.training import parse_config, read_metrics, train
from sadp_dist.training.export import export_run
from tests.training.conftest import newest_state
from tests.training.interruption import interrupted_after

METHODS = {
    "qat": {},
    "activity-pruning": {"until": 0.6},
    "sparse-structure": {"every": 1, "until": 0.8, "connectivity": 0.3},
}


@pytest.fixture
def raw(recipe, few_digits):
    def make(method, **sections):
        training = {"epochs": 5, "batch_size": 32, "loss": "tet", **sections.pop("training", {})}
        return recipe(
            data={**few_digits, "std": [32.0] * 3},
            training={"learning_rate": 0.01, **training},
            compression={"method": method, **METHODS[method]},
            tracking={"trackers": []},
            **sections,
        )

    return make


@pytest.mark.parametrize(
    ("method", "rule", "pruned_by"),
    [
        ("qat", "bptt", "sadp"),
        ("qat", "ottt", "infobatch"),
        ("activity-pruning", "bptt", "infobatch"),
        ("activity-pruning", "ell", "sadp"),
        ("sparse-structure", "bptt", "random"),
        ("sparse-structure", "sltt", "sadp"),
    ],
)
def test_any_compression_goes_with_any_rule_and_any_way_to_prune(raw, method, rule, pruned_by):
    config = parse_config(raw(method, learning={"rule": rule}, pruning={"method": pruned_by}))
    end = train(config, show=False)
    assert end["test_accuracy"] > 0.2  # of 0.1 by chance
    *epochs, _ = read_metrics(config.run_dir)
    assert all(row["synaptic_operations"] > 0 for row in epochs)
    if method != "qat":
        shares = [row["connectivity"] for row in epochs]
        assert shares[-1] < shares[0] <= 1
        assert shares[-1] == pytest.approx(0.3, abs=0.02)
        network = newest_state(config.run_dir)["network"]
        masked = [value for name, value in network.items() if name.endswith("weight") and value.dim() > 1]
        left = sum(int((w != 0).sum()) for w in masked) / sum(w.numel() for w in masked)
        assert left == pytest.approx(shares[-1], abs=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_goes_on_ends_with_the_same_weights(raw, method):
    straight = parse_config(raw(method, training={"epochs": 3, "checkpoint_every": 1}))
    train(straight, show=False)
    expected = newest_state(straight.run_dir)
    resumed = parse_config({**raw(method, training={"epochs": 3, "checkpoint_every": 1}), "name": "resumed"})
    with interrupted_after(batches=7):
        train(resumed, show=False)
    train(resumed, "resume", show=False)
    found = newest_state(resumed.run_dir)
    for part in ("network", "compression"):
        assert expected[part].keys() == found[part].keys()
        assert all(torch.equal(expected[part][key], found[part][key]) for key in expected[part])


def test_a_quantised_run_is_worth_the_same_as_a_file(raw, tmp_path):
    config = parse_config(raw("qat"))
    end = train(config, show=False)
    exported = export_run(config.run_dir, tmp_path / "network.npz")
    assert exported.trained_so
    assert exported.accuracy == exported.float_accuracy == end["test_accuracy"]
    assert exported.bytes < 0.35 * exported.float_bytes


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"training": {"optimizer": "sgd", "momentum": 0.0}},
            "needs the momentum of the optimizer",
        ),
        ({"training": {"epochs": 1}}, "compression.every=1 never rewires: with training.epochs=1"),
    ],
)
def test_what_could_never_rewire_is_refused(raw, sections, said):
    with pytest.raises(UsageError, match=said):
        parse_config(raw("sparse-structure", **sections))
