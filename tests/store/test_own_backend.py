"""A backend from one file outside the package: the file of docs/stores.md, which trains and answers."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from sadp_dist import PruningConfig, connect
from sadp_dist.errors import UsageError
from sadp_dist.store import BACKENDS, attach, list_runs, open_snapshot, remove_run
from sadp_dist.training import parse_config

DOCUMENT = (Path(__file__).parents[2] / "docs" / "stores.md").read_text(encoding="utf-8")
N = 300
PRUNING = PruningConfig(ratio=0.4, max_ratio=0.6, epochs=4, min_probability=0.1, seed=2)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder on the path with the document's file as `own_backend`."""
    code = re.search(r"```python\n(.*?)```", DOCUMENT.partition("## A backend of your own")[2], re.S).group(1)
    (tmp_path / "own_backend.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKENDS, "own", "removed after the test")
    yield tmp_path
    sys.modules.pop("own_backend", None)


def test_it_plans_and_answers_as_the_embedded_store_does(folder):
    importlib.import_module("own_backend")
    with connect("memory:", "a run", N, PRUNING) as alone, connect("own:", "a run", N, PRUNING) as own:
        view = attach("own:", "a run")
        for epoch in range(4):
            shards = [store.plan(epoch) for store in (alone, own)]
            np.testing.assert_array_equal(shards[0].indices, shards[1].indices)
            np.testing.assert_array_equal(shards[0].weights, shards[1].weights)
            for store in (alone, own):
                store.push(
                    shards[0].indices, np.random.default_rng(epoch).random(len(shards[0].indices)), epoch
                )
                store.flush()
        assert own.history() == view.history() == alone.history()
        np.testing.assert_array_equal(view.scores(range(N)), alone.scores(range(N)))
        own.save(folder / "saved.npz")
        own.reset()
        assert view.stats().seen == 0
        own.load(folder / "saved.npz")
        np.testing.assert_array_equal(view.top(9), alone.top(9))
        with pytest.raises(UsageError, match="can only be read"):
            view.push([1], [1.0], epoch=3)
    assert list_runs("own:") == [{"run": "a run"}]
    remove_run("own:", "a run")
    assert list_runs("own:") == []


@pytest.mark.slow
def test_a_whole_job_trains_over_it(folder, digits):
    data = {"train": str(digits), "test": str(digits), "train_split": "train", "test_split": "test"}
    raw = {
        "name": "run",
        "output": str(folder / "{name}"),
        "data": {**data, "loader": "torch", "image_size": 8, "classes": 10, "workers": 0},
        "network": {"name": "small_cnn", "time_steps": 2},
        "training": {"epochs": 2, "batch_size": 64, "optimizer": "adamw", "learning_rate": 0.002},
        "pruning": {"ratio": 0.5, "max_ratio": 0.7, "min_probability": 0.3},
        "store": {"url": "own:"},
        "imports": ["own_backend"],
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(raw), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "sadp_dist", "train", str(config)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    with open_snapshot(parse_config(raw).run_dir) as saved:
        assert saved.stats().epoch == 1 and saved.stats().seen > 0
