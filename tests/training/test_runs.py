"""Runs from the first epoch to the last, at the edges where a loop hangs or crashes."""

import warnings
from functools import partial

import pytest
import torch

from sadp_dist.errors import UsageError
from sadp_dist.snn import build_network
from sadp_dist.store import open_snapshot
from sadp_dist.training import parse_config, read_metrics, train
from tests.training.conftest import newest_state


def epochs_of(config):
    return [record for record in read_metrics(config.run_dir) if record["event"] == "epoch"]


@pytest.mark.parametrize("loader", ["ffcv", "torch"])
def test_sadp_learns_the_digits_on_the_examples_that_its_schedule_allows(recipe, loader):
    config = parse_config(recipe(loader, training={"epochs": 6}))
    summary = train(config)
    epochs = epochs_of(config)
    assert summary["test_accuracy"] > 0.85
    assert summary["test_examples"] == 355
    rule = config.pruning.rule
    assert [e["examples"] for e in epochs] == [round((1 - rule.ratio(epoch)) * 1442) for epoch in range(6)]
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert read_metrics(config.run_dir)[-1]["event"] == "end"
    assert list((config.run_dir / "tensorboard").iterdir())


@pytest.mark.parametrize("method", ["full", "random"])
def test_the_baselines_need_no_scores(recipe, few_digits, method):
    config = parse_config(recipe(data=few_digits, pruning={"method": method}))
    train(config)
    expected = 160 if method == "full" else 80
    assert [e["examples"] for e in epochs_of(config)] == [expected] * 3


def test_the_same_configuration_gives_the_same_weights_and_another_seed_others(recipe, few_digits):
    def weights(name, seed):
        data = {**few_digits, "augment": "crop", "padding": 1}
        config = parse_config(recipe(name=name, seed=seed, data=data, training={"batch_size": 16}))
        train(config)
        return torch.load(max((config.run_dir / "checkpoints").iterdir()) / "state.pt")["network"]

    first, again, other = weights("first", 0), weights("again", 0), weights("other", 1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_accumulated_micro_batches_take_the_same_steps_as_whole_batches(recipe):
    """The networks differ, as batch norm sees micro-batches; the examples and the learning rates do not."""
    whole = parse_config(recipe(name="whole"))
    parts = parse_config(recipe(name="parts", training={"accumulate": 4}))
    train(whole), train(parts)
    for a, b in zip(epochs_of(whole), epochs_of(parts), strict=True):
        assert (a["examples"], a["subset_size"], a["learning_rate"]) == pytest.approx(
            (b["examples"], b["subset_size"], b["learning_rate"])
        )
    assert abs(epochs_of(whole)[-1]["test_accuracy"] - epochs_of(parts)[-1]["test_accuracy"]) < 0.2


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_and_scores(recipe, precision):
    # Without channels_last, a CPU takes ten times as long for the same values in half precision.
    config = parse_config(recipe(training={"precision": precision, "channels_last": True, "epochs": 4}))
    train(config)
    epochs = epochs_of(config)
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert epochs[-1]["test_accuracy"] > 0.5


def test_an_epoch_of_ratio_1_trains_on_nothing_and_says_so(recipe, capsys):
    with pytest.warns(UserWarning, match="nothing"):
        config = parse_config(recipe(pruning={"ratio": 0.5, "max_ratio": 1.0, "min_probability": 0.0}))
    summary = train(config)
    last = epochs_of(config)[-1]
    assert (last["examples"], last["loss"], last["train_accuracy"]) == (0, None, None)
    assert summary["test_accuracy"] == epochs_of(config)[-1]["test_accuracy"]
    assert "empty" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("size", "batch_size", "ratio"),
    [
        pytest.param(1, 4, 0.0, id="N=1"),
        pytest.param(10, 64, 0.5, id="subset smaller than one batch"),
        pytest.param(10, 4, 0.1, id="last batch partial"),
    ],
)
def test_tiny_data_sets_train(recipe, tmp_path, digits, size, batch_size, ratio):
    write_few(digits, tmp_path / "few.beton", size)
    config = parse_config(
        recipe(
            "ffcv",
            data={"train": str(tmp_path / "few.beton")},
            training={"batch_size": batch_size},
            pruning={"ratio": ratio, "max_ratio": None, "stratify": "none"},
        )
    )
    train(config)
    assert [e["examples"] for e in epochs_of(config)] == [round((1 - ratio) * size)] * 3


def test_one_example_at_ratio_one_half_is_refused_as_its_epochs_would_be_empty(recipe, tmp_path, digits):
    write_few(digits, tmp_path / "few.beton", 1)
    config = parse_config(
        recipe(
            "ffcv",
            data={"train": str(tmp_path / "few.beton")},
            pruning={"ratio": 0.5, "max_ratio": None, "stratify": "none"},
        )
    )
    with pytest.raises(UsageError, match="keeps 0.5 examples, rounded to 0, so no epoch trains on anything"):
        train(config)


def test_a_last_batch_of_one_example_trains_at_one_time_step(recipe, tmp_path, digits):
    """Then batch norm may have one value a channel, of which there is no variance."""
    write_few(digits, tmp_path / "few.beton", 9)
    config = parse_config(
        recipe(
            "ffcv",
            data={"train": str(tmp_path / "few.beton")},
            network={"time_steps": 1},
            training={"batch_size": 4},
            pruning={"ratio": 0.0, "max_ratio": None, "stratify": "none"},
        )
    )
    train(config)
    assert [e["examples"] for e in epochs_of(config)] == [9] * 3
    assert all(torch.isfinite(value).all() for value in newest_state(config.run_dir)["network"].values())


def test_tet_with_accumulation_fp16_and_channels_last_trains(recipe):
    training = {"loss": "tet", "accumulate": 2, "precision": "fp16", "channels_last": True, "epochs": 4}
    config = parse_config(recipe(training=training))
    train(config)
    epochs = epochs_of(config)
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert epochs[-1]["test_accuracy"] > 0.5


def test_a_compiled_network_trains_and_its_checkpoint_fits_one_that_is_not(
    recipe, tmp_path, digits, monkeypatch
):
    # The default compiler's C++ takes a minute; tests/scoring and tests/snn use it on less.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    few = str(tmp_path / "few.beton")
    write_few(digits, few, 64)
    config = parse_config(
        recipe(
            "ffcv",
            data={"train": few, "test": few},
            network={"time_steps": 1},
            training={"compile": True, "epochs": 2, "batch_size": 16},
            pruning={"ratio": 0.5, "max_ratio": None, "stratify": "none"},
        )
    )
    train(config)
    assert [e["examples"] for e in epochs_of(config)] == [32, 32]
    assert scores_pushed(config) == 64
    plain = build_network("small_cnn", num_classes=10, image_size=8, time_steps=1)
    plain.load_state_dict(newest_state(config.run_dir)["network"])


@pytest.mark.slow
def test_an_empty_epoch_on_two_ranks_ends(recipe, launch):
    with pytest.warns(UserWarning, match="nothing"):
        raw = recipe(pruning={"ratio": 0.5, "max_ratio": 1.0, "min_probability": 0.0})
        config = parse_config(raw)
    done = launch(raw, processes=2)
    assert done.returncode == 0, done.stderr
    examples = [e["examples"] for e in epochs_of(config)]
    assert all(examples[:-1])
    assert examples[-1] == 0
    assert epochs_of(config)[-1]["test_examples"] == 355


@pytest.mark.slow
def test_fewer_examples_than_ranks_train(recipe, launch, tmp_path, digits):
    write_few(digits, tmp_path / "few.beton", 2)
    raw = recipe(
        "ffcv",
        data={"train": str(tmp_path / "few.beton")},
        training={"batch_size": 6, "epochs": 2},
        pruning={"ratio": 0.0, "max_ratio": None, "stratify": "none"},
    )
    done = launch(raw, processes=3)
    assert done.returncode == 0, done.stderr
    assert [e["examples"] for e in epochs_of(parse_config(raw))] == [2, 2]


@pytest.mark.slow
def test_two_ranks_train_on_every_drawn_example_once_and_test_on_every_example_once(recipe, launch):
    training = {"epochs": 4, "precision": "bf16", "channels_last": True, "accumulate": 2}
    raw = recipe("ffcv", training=training)
    done = launch(raw, processes=2)
    assert done.returncode == 0, done.stderr
    config = parse_config(raw)
    epochs = epochs_of(config)
    assert [e["examples"] for e in epochs] == [e["subset_size"] for e in epochs]
    assert {e["test_examples"] for e in epochs} == {355}
    assert epochs[-1]["loss"] < epochs[0]["loss"]


def test_a_batch_size_that_does_not_divide_is_refused(recipe):
    config = parse_config(recipe(training={"batch_size": 10, "accumulate": 4}))
    with pytest.raises(UsageError, match="batch_size=10 must be a multiple of 4"):
        train(config)
    assert not config.run_dir.exists()


def test_a_directory_with_a_run_is_not_written_over(recipe):
    config = parse_config(recipe(training={"epochs": 1}))
    train(config)
    before = read_metrics(config.run_dir)
    with pytest.raises(UsageError, match="already holds a run; add --resume"):
        train(config)
    changed = parse_config(recipe(training={"epochs": 1, "learning_rate": 0.1}))
    with pytest.raises(UsageError, match="training.learning_rate: 0.002 then, 0.1 now"):
        train(changed, "resume")
    assert read_metrics(config.run_dir) == before
    broken = parse_config(recipe(training={"epochs": 1}, data={"classes": 3}))
    with pytest.raises(UsageError, match="data.classes=3"):
        train(broken, "overwrite")
    assert read_metrics(config.run_dir) == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(changed, "overwrite")
    assert epochs_of(config)[0]["learning_rate"] != before[0]["learning_rate"]


def scores_pushed(config):
    """How many scores the store of the newest checkpoint was pushed."""
    return open_snapshot(config.run_dir).stats().pushed_scores


def write_few(digits, path, size):
    from sadp_dist.data import open_images
    from sadp_dist.loading import write_beton

    images = open_images(digits / "images", "train")
    step = len(images) // size
    write_beton([images[i * step] for i in range(size)], path)
