"""Whole runs whose scores live in Redis: the same training as with the embedded store."""

from __future__ import annotations

import subprocess
import urllib.parse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from sadp_dist.store import attach, open_snapshot
from sadp_dist.training import parse_config, read_metrics, train
from sadp_dist.training.extension import remove_shorter_run
from tests.ports import free_port
from tests.store.redis_server import PASSWORD, USER, RedisServer
from tests.training.conftest import newest_state
from tests.training.test_resume import TIMES

pytestmark = pytest.mark.slow


@pytest.fixture
def recipe(recipe, few_digits):
    """A small run over few of the digits, with as many steps as over all."""

    def make(**sections):
        training = {"batch_size": 8, **sections.pop("training", {})}
        return recipe(data=few_digits, training=training, **sections)

    return make


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


def record(raw) -> list[dict]:
    """Everything but times that a run has written down."""
    rows = read_metrics(parse_config(raw).run_dir)
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def test_a_run_of_two_ranks_over_redis_learns_what_it_learns_over_the_embedded_store(recipe, launch, url):
    training = {"curriculum": [{"until": 0.6, "time_steps": 1}, {}]}
    here = recipe(name="here", training=training)
    there = recipe(name="there", training=training, store={"url": url, "planner": "rank0"})
    for raw in (here, there):
        done = launch(raw, processes=2)
        assert done.returncode == 0, done.stderr
    assert len(record(here)) == 4  # three epochs and the end
    assert record(there) == record(here)
    states = [newest_state(parse_config(raw).run_dir)["network"] for raw in (here, there)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    with attach(url, "there") as live, open_snapshot(parse_config(here).run_dir) as saved:
        theirs, ours = live.stats(), saved.stats()
        everyone = range(ours.dataset_size)
        np.testing.assert_array_equal(live.scores(everyone), saved.scores(everyone))
        epochs = zip(live.history(), saved.history(), record(here)[:3], strict=True)
        for epoch_there, epoch_here, row in epochs:
            for measured in (epoch_there.training, epoch_here.training):
                assert (measured["loss"], measured["test_accuracy"]) == (row["loss"], row["test_accuracy"])
            assert replace(epoch_there, training={}) == replace(epoch_here, training={})
            assert (epoch_there.gamma, epoch_there.seen) == (row["gamma"], row["seen"])
    assert (theirs.seen, theirs.epoch, theirs.pushed_scores) == (ours.seen, 2, ours.pushed_scores)


def test_a_run_in_redis_is_extended_and_another_one_of_its_name_is_not_removed(recipe, url):
    def of(epochs, **changes):
        training = {"epochs": epochs, "batch_size": 256}
        return parse_config(recipe(name="longer", training=training, store={"url": url}, **changes))

    train(of(1))
    train(of(2), "extend")
    with attach(url, "longer") as extended:
        assert (extended.stats().epochs, len(extended.history())) == (2, 2)
    assert [row["event"] for row in record(of(2).to_dict())] == ["epoch", "epoch", "end"]
    other = of(2, pruning={"method": "random", "min_probability": 0.0, "max_ratio": None})
    remove_shorter_run(other, other)
    with attach(url, "longer") as kept:
        assert kept.stats().method == "sadp"


def test_a_run_that_begins_anew_forgets_what_the_store_still_has_and_one_that_goes_on_does_not(
    recipe, launch, url
):
    raw = recipe(name="again", training={"epochs": 2, "checkpoint_every": 3}, store={"url": url})
    first = launch(raw, "--resume")  # there is nothing yet to resume
    assert first.returncode == 0, first.stderr
    straight = record(raw)
    anew = launch(raw, "--overwrite")
    assert anew.returncode == 0, anew.stderr
    assert record(raw) == straight

    checkpoints = sorted((parse_config(raw).run_dir / "checkpoints").glob("e*-b*"))
    assert checkpoints[-2].name.startswith("e0001-b")  # in the middle of the second epoch
    for path in checkpoints[-1].iterdir():
        path.unlink()
    checkpoints[-1].rmdir()
    resumed = launch(raw, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming at epoch 2" in resumed.stdout
    assert record(raw) == straight


def one_line(done: subprocess.CompletedProcess[str], status: int) -> str:
    assert done.returncode == status, (done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("sadp-dist: ")
    return done.stderr


def test_a_store_that_is_not_there_is_one_line_and_exit_1(recipe, launch):
    url = f"redis://me:secret@127.0.0.1:{free_port()}/0"
    line = one_line(launch(recipe(store={"url": url, "timeout": 1})), 1)
    assert "cannot be reached" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ({"planner": "rank1"}, 'store.planner=\'rank1\' is not one of "auto", "server", "rank0"'),
        ({"timeout": 0}, "store.timeout=0 is not a number above 0"),
        ({"snapshots": "x"}, "unknown key 'snapshots' in section store; did you mean \"snapshot\"?"),
    ],
)
def test_options_of_the_store_are_checked_before_anything_starts(recipe, store, expected):
    with pytest.raises(ValueError) as refused:
        parse_config(recipe(store=store))
    assert expected in str(refused.value)


def test_no_password_is_written_into_the_run_directory(recipe, launch, tmp_path: Path):
    conf = Path(__file__).parents[2] / "docker" / "redis.conf"
    with RedisServer(tmp_path / "redis", conf=conf) as server:
        address = server.url.removeprefix("redis://")
        quoted = urllib.parse.quote(PASSWORD, safe="")
        raw = recipe(
            name="secret", training={"epochs": 1}, store={"url": f"redis://{USER}:{quoted}@{address}"}
        )
        done = launch(raw)
    assert done.returncode == 0, done.stderr
    run_dir = parse_config(raw).run_dir
    assert yaml.safe_load((run_dir / "config.yaml").read_text())["store"]["url"].endswith(f"***@{address}")
    for path in run_dir.rglob("*"):
        if path.is_file():
            assert quoted.encode() not in path.read_bytes(), path
