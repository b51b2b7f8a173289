"""Every pruning rule trains on two processes, and the same over the embedded store and over Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sadp_dist.selection import RULES, PruningConfig
from sadp_dist.store.engine.snapshot import Snapshot
from sadp_dist.training import parse_config, read_metrics
from tests.forked import run_ranks
from tests.store.redis_server import RedisServer
from tests.training.conftest import environment
from tests.training.every_rule import TRACKING, tracks
from tests.training.test_resume import TIMES

pytestmark = pytest.mark.timeout(900)  # all runs are made before the first test
SCRIPT = Path(__file__).with_name("every_rule.py")
N, K, R = 160, 3, 0.5


@pytest.fixture(scope="module")
def folders(few_digits: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the runs of all rules are, by the home of their scores."""
    found: dict[str, Path] = {}
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        for home, store in (("embedded", {}), ("redis", {"url": server.url, "planner": "rank0"})):
            found[home] = tmp_path_factory.mktemp(home)
            raw = {
                "output": str(found[home] / "{name}"),
                "data": {
                    **few_digits,
                    **{"train_split": "train", "test_split": "test", "loader": "torch", "workers": 0},
                    **{"image_size": 8, "classes": 10},
                },
                "network": {"name": "small_cnn", "time_steps": 1},
                "training": {"epochs": K, "batch_size": 32, "optimizer": "adamw", "learning_rate": 0.002},
                "pruning": {"ratio": R},
                "tracking": {"trackers": []},
                "store": store,
            }
            config = found[home] / "config.yaml"
            config.write_text(yaml.safe_dump(raw), encoding="utf-8")
            done = run_ranks([SCRIPT, config], 2, env=environment(), timeout=400)
            assert done.returncode == 0, done.stderr[-4000:]
    return found


def newest_store(run_dir: Path) -> Snapshot:
    return Snapshot.read(max((run_dir / "checkpoints").glob("e*-b*")) / "store.npz")


@pytest.mark.parametrize("method", list(RULES))
def test_it_keeps_what_its_definition_says_and_the_store_changes_nothing(folders, method):
    here, there = (
        [{k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(folder / method)]
        for folder in folders.values()
    )
    assert there == here
    tracking = {"tracking_epochs": TRACKING} if tracks(method) else {}
    pruning = PruningConfig(method=method, ratio=R, epochs=K, **tracking)
    *epochs, end = here
    assert len(epochs) == pruning.run_epochs
    tracking, proper = epochs[: pruning.tracked_epochs], epochs[pruning.tracked_epochs :]
    assert [row.get("phase") for row in epochs] == ["tracking"] * len(tracking) + [None] * len(proper)
    assert all(row["examples"] == N for row in tracking)
    kept = sum(row["examples"] for row in proper)
    assert end["total_examples"] == kept + len(tracking) * N
    assert end["achieved_ratio"] == pytest.approx(1 - kept / (N * K))
    assert end["asked_ratio"] == (0 if method == "full" else R)
    assert 0 <= end["test_accuracy"] <= 1
    stores = [newest_store(folder / method) for folder in folders.values()]
    for one, other in zip(*(store.plans for store in stores), strict=True):
        np.testing.assert_array_equal(one.indices, other.indices)
        np.testing.assert_array_equal(one.weights, other.weights)
    np.testing.assert_array_equal(*(store.table.scores for store in stores))
    if pruning.tracked_epochs:
        assert all(row["examples"] == N // 2 for row in proper)
        one, other = (set(plan.indices.tolist()) for plan in stores[0].plans)
        assert one == other
        rank = pruning.rule.rank(stores[0].table.scores)
        assert rank[list(one)].min() >= rank[list(set(range(N)) - one)].max()
        assert (stores[0].table.score_epochs == TRACKING - 1).all()  # none was pushed after tracking


@pytest.mark.parametrize(
    ("method", "ratio"), [("reduced-epoch", 1 / 3), ("infobatch", None), ("repb", None), ("random", R)]
)
def test_a_rule_that_cannot_meet_the_ratio_says_what_it_got(folders, method, ratio):
    end = read_metrics(folders["embedded"] / method)[-1]
    if ratio is None:
        assert 0 < end["achieved_ratio"] < 0.3
    else:
        assert end["achieved_ratio"] == pytest.approx(ratio)


def test_the_configuration_is_read_as_it_was_written(folders):
    raw = yaml.safe_load((folders["redis"] / "el2n" / "config.yaml").read_text())
    assert parse_config(raw).pruning.tracked_epochs == TRACKING
