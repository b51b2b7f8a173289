"""A run goes on with moved data, in a moved directory, and for more epochs; with other data it is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sadp_dist.errors import UsageError
from sadp_dist.store import open_snapshot
from sadp_dist.training import parse_config, read_metrics, train
from tests.training.interruption import interrupted_after


@pytest.fixture
def raw(recipe, few_digits, tmp_path):
    """A run of one epoch over data of its own."""
    shutil.copytree(few_digits["train"], tmp_path / "data")
    data = {"train": str(tmp_path / "data"), "test": str(tmp_path / "data"), "workers": 0}
    return recipe(data=data, training={"epochs": 1}, pruning={"stratify": "none", "max_ratio": None})


def with_data(raw, path, **changes):
    return parse_config({**raw, "data": {**raw["data"], "train": str(path), "test": str(path)}, **changes})


def epochs_of(config):
    return [record["epoch"] for record in read_metrics(config.run_dir) if record["event"] == "epoch"]


def test_the_same_examples_under_another_path_go_on_and_others_are_refused(raw, tmp_path, monkeypatch):
    config = parse_config(raw)
    train(config)
    monkeypatch.chdir(tmp_path)
    assert train(with_data(raw, "./data"), "resume")
    (tmp_path / "scratch").mkdir()
    moved = Path(shutil.move("data", "scratch/of-the-node"))
    config.run_dir.rename(tmp_path / "renamed")
    there = with_data(raw, moved, output=str(tmp_path / "renamed"))
    assert train(there, "resume") == read_metrics(tmp_path / "renamed")[-1]

    image = next(moved.glob("train/*/*.png"))
    image.write_bytes(next(moved.glob("test/*/*.png")).read_bytes() + b" ")
    changed = there
    for _ in range(2):
        with pytest.raises(
            UsageError, match="does not hold the examples that .*renamed was run with"
        ) as said:
            train(changed, "resume")
        assert "\n" not in str(said.value)
        changed = with_data(raw, shutil.copytree(moved, "copy", dirs_exist_ok=True), output=there.output)


def test_a_run_that_recorded_nothing_about_its_data_is_compared_with_it_while_it_is_there(raw, tmp_path):
    config = parse_config(raw)
    train(config)
    (config.run_dir / "data.json").unlink()
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    assert train(with_data(raw, tmp_path / "copy"), "resume")
    (config.run_dir / "data.json").unlink()
    shutil.rmtree(tmp_path / "copy")
    with pytest.raises(UsageError, match="an older version recorded nothing about the data, and it is gone"):
        train(parse_config(raw), "resume")


def test_more_epochs_are_a_choice_and_the_schedules_span_all_of_them(raw, capsys):
    def of(epochs, **changes):
        return parse_config({**raw, "training": {**raw["training"], "epochs": epochs}, **changes})

    with pytest.raises(UsageError, match="--extend: .*run holds no run; name its directory with output=DIR"):
        train(of(2), "extend")
    train(of(2))
    with pytest.raises(UsageError, match="training.epochs: 2 then, 4 now.; add --extend to train on"):
        train(of(4), "resume")
    with pytest.raises(UsageError, match="training.epochs: 2 then, 1 now.; a run cannot be shortened"):
        train(of(1), "resume")
    with pytest.raises(UsageError, match="training.epochs=1 is below the 2 epochs"):
        train(of(1), "extend")
    with pytest.raises(UsageError, match="seed: 0 then, 1 now"):
        train(of(4, seed=1), "extend")
    capsys.readouterr()
    with interrupted_after(batches=3):  # in the fourth of four epochs
        train(of(4), "extend")
    assert (
        "extended from 2 to 4 epochs: the learning rate is 0.001, not 0, and reaches 0 with epoch 4"
        in capsys.readouterr().out
    )
    config = of(4)
    summary = train(config, "resume")  # the choice was made
    assert epochs_of(config) == [0, 1, 2, 3]
    assert summary["extended_from"] == 2
    stats = open_snapshot(config.run_dir).stats()
    assert (stats.epochs, stats.epoch) == (4, 3)
    rates = [record["learning_rate"] for record in read_metrics(config.run_dir) if record["event"] == "epoch"]
    assert rates[1] < rates[2] > rates[3]


def test_the_first_weights_of_a_run_with_a_checkpoint_may_have_moved_but_not_be_others(raw, tmp_path):
    def of(weights):
        return parse_config({**raw, "name": "second", "network": {**raw["network"], "weights": str(weights)}})

    first = parse_config(raw).run_dir
    train(parse_config(raw))
    train(of(first))
    shutil.copytree(first, tmp_path / "elsewhere" / "run")
    assert train(of(tmp_path / "elsewhere" / "run"), "resume")
    shutil.copytree(first, tmp_path / "other")
    with pytest.raises(UsageError, match="network.weights: 'run' then, 'other' now"):
        train(of(tmp_path / "other"), "resume")


def test_a_compression_with_a_schedule_cannot_be_extended(raw):
    def of(epochs):
        training = {**raw["training"], "epochs": epochs}
        return parse_config({**raw, "training": training, "compression": {"method": "activity-pruning"}})

    of(1).run_dir.mkdir()
    from sadp_dist.training.extension import check_extension

    with pytest.raises(UsageError, match="compression.method=activity-pruning changes the network by a sch"):
        check_extension(of(1), of(2))
    check_extension(of(1), of(1))
