"""Where a run's figures go: TensorBoard, Weights & Biases offline, MLflow in a file; read back from there."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.store import open_snapshot
from sadp_dist.training import trackers
from sadp_dist.training.config import parse_config
from sadp_dist.training.metrics import read_metrics
from sadp_dist.training.run import train
from sadp_dist.training.trackers import TrackedRun, find_trackers, following
from sadp_dist.training.trackers.following import Follower

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import Record

RUN = TrackedRun("run", "project", Path(), {}, 0)
FIGURES = {"loss", "train_accuracy", "ratio", "gamma", "largest_weight", "effective_sample_size"}


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    """W&B writes files alone, MLflow a database beside the run."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")


def records_of_wandb(folder: Path) -> list[Record]:
    """All records of all files that W&B wrote there, oldest file first: LevelDB's log format, of protobuf."""
    from wandb.proto.wandb_internal_pb2 import Record

    records = []
    for path in sorted(folder.glob("offline-run-*/*.wandb")):
        data, at, whole = path.read_bytes(), 7, b""
        while at + 7 <= len(data):
            if 32768 - at % 32768 < 7:  # no room for a header at the end of a block
                at += 32768 - at % 32768
                continue
            _, length, kind = struct.unpack_from("<IHB", data, at)
            whole += data[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # whole, or the last part
                records.append(Record.FromString(whole))
                whole = b""
    return records


def history_of_wandb(folder: Path) -> list[dict]:
    rows = [record.history for record in records_of_wandb(folder) if record.HasField("history")]
    return [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in row.item} for row in rows
    ]


@pytest.mark.slow
def test_a_run_is_found_in_each_tracker_and_goes_on_there_as_the_same_run(recipe, tmp_path, at_home):
    from mlflow import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    names = ["tensorboard", "wandb", "mlflow"]
    raw = recipe(tracking={"trackers": names, "project": "digits"}, training={"epochs": 2})
    raw["pruning"]["epochs"] = 2
    config = parse_config(raw)
    train(config)
    expected = {record["epoch"]: record for record in read_metrics(config.run_dir)[:2]}
    for record in open_snapshot(config.run_dir).history():
        assert record.training["loss"] == expected[record.epoch]["loss"]
        assert record.gamma == expected[record.epoch]["gamma"]
    shutil.rmtree(config.run_dir / "checkpoints" / "e0002-b000000")  # it has got to the first epoch's end
    train(config, existing="resume")

    again = {record["epoch"]: record for record in read_metrics(config.run_dir)[:2]}
    board = EventAccumulator(str(config.run_dir / "tensorboard")).Reload()
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("digits")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params["pruning.min_probability"] == "0.3"
    assert run.data.params["training.epochs"] == "2"
    begun, resumed = [r.run for r in records_of_wandb(config.run_dir / "wandb") if r.HasField("run")]
    assert begun.run_id == resumed.run_id == (config.run_dir / "wandb" / "run-id").read_text()
    assert (begun.project, begun.display_name) == ("digits", "run")
    sections = {update.key: json.loads(update.value_json) for update in begun.config.update}
    assert sections["pruning"]["min_probability"] == 0.3
    in_wandb = {row["epoch"]: row for row in history_of_wandb(config.run_dir / "wandb")}
    for figure in FIGURES:
        values = [again[epoch][figure] for epoch in (0, 1)]
        assert [event.value for event in board.Scalars(figure)] == pytest.approx(values, rel=1e-6)
        logged = client.get_metric_history(run.info.run_id, figure)
        logged = {point.step: point.value for point in sorted(logged, key=lambda point: point.timestamp)}
        assert logged == {1: values[0], 2: values[1]}
        assert [in_wandb[epoch][figure] for epoch in (1, 2)] == values


def test_a_tracker_whose_package_is_missing_is_refused_before_the_run_begins(recipe, monkeypatch):
    for package in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.delitem(sys.modules, trackers.TRACKERS[package], raising=False)
        config = parse_config(recipe(tracking={"trackers": [package]}))
        with pytest.raises(UsageError, match=rf"pip install 'sadp_dist\[{package}\]'"):
            train(config)
        assert not config.run_dir.exists()
        with pytest.raises(MissingExtra):
            find_trackers([package])


def test_a_tracker_that_is_not_known_is_refused(recipe):
    with pytest.raises(UsageError, match="trackers='wnadb' is not known; .* did you mean \"wandb\""):
        parse_config(recipe(tracking={"trackers": ["wnadb"]}))


class Failing:
    """Takes what it is given while the line is up."""

    def __init__(self, run: TrackedRun) -> None:
        self.up, self.taken, self.closed, self.tries = threading.Event(), [], None, 0

    def log(self, epoch, figures):
        self.tries += 1
        if not self.up.is_set():
            raise ConnectionError("no route\nto host")
        self.taken.append((epoch, figures))

    def close(self, failed):
        self.closed = failed


def test_a_tracker_that_fails_costs_one_line_and_gets_what_it_missed_later():
    tracker = Failing(RUN)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        follower = Follower("wandb", lambda run: tracker, RUN)
        for epoch in range(3):
            follower.log(epoch, {"loss": 1.0})
        while tracker.tries < 3:
            time.sleep(0.01)
        tracker.up.set()
        follower.log(3, {"loss": 0.5})
        follower.close(failed=True)
    assert [str(line.message) for line in said] == [
        "wandb cannot log the run's metrics (no route); training continues"
    ]
    assert [epoch for epoch, _ in tracker.taken] == [0, 1, 2, 3]
    assert tracker.closed is True


def test_a_tracker_that_cannot_begin_and_one_that_never_ends_do_not_hold_the_run_up(monkeypatch):
    hung = threading.Event()

    def refuse(run):
        raise ConnectionError("no such host")

    def hang(run):
        hung.wait(240)
        return Failing(run)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        refused, hangs = Follower("mlflow", refuse, RUN), Follower("wandb", hang, RUN)
        for follower in (refused, hangs):
            follower.log(0, {"loss": 1.0})
        refused.close(failed=False)
        monkeypatch.setattr(following, "PATIENCE", 0.2)
        hangs.close(failed=False)
    hung.set()
    assert sorted(str(line.message) for line in said) == [
        "mlflow cannot log the run's metrics (no such host); training continues",
        "wandb did not log everything within 0.2 s; training continues",
    ]


@pytest.mark.slow
def test_a_run_ends_well_though_neither_service_is_there(recipe, launch, tmp_path, monkeypatch):
    """What you see at a terminal: a line for each, and no more."""
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    raw = recipe(tracking={"trackers": ["wandb", "mlflow"]}, training={"epochs": 1})
    done = launch(raw)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("sadp-dist:")]
    assert sorted(line.split(" (")[0] for line in lines) == [
        "sadp-dist: warning: mlflow cannot log the run's metrics",
        "sadp-dist: warning: wandb cannot log the run's metrics",
    ]
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert len(read_metrics(tmp_path / "run")) == 2
