"""What the API answers, of real runs in a real Redis and in folders."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import sadp_dist
from sadp_dist import PruningConfig, connect
from sadp_dist.dashboard.api import _top
from sadp_dist.store import RunView, remove_run
from sadp_dist.time_saved import time_saved_in_words
from tests.dashboard.process import Dashboard, train, train_epoch
from tests.store.redis_server import until

pytestmark = pytest.mark.slow


def test_figures_history_and_classes_are_those_of_the_store(dashboard, training, images):
    stats = dashboard.of("digits", "stats").json()
    assert 0 <= stats.pop("answered_in") < stats.pop("at")
    assert stats.pop("images_problem") is stats.pop("time_saved") is None
    ours = training.stats().to_dict()
    for changing in ("last_snapshot", "planner"):
        assert stats.pop(changing) and ours.pop(changing)
    assert stats == ours
    assert (stats["epoch"], stats["pushes"]) == (2, 3)

    history = dashboard.of("digits", "history").json()
    assert history == [record.to_dict() for record in training.history()]
    assert [record["training"]["loss"] for record in history] == [2.0, 1.0, 2 / 3]
    assert dashboard.of("digits", "history", since=2).json() == history[2:]

    classes = dashboard.of("digits", "classes").json()
    assert classes["epoch"] == 2
    assert [row["name"] for row in classes["classes"]] == images.classes
    assert [row["examples"] for row in classes["classes"]] == np.bincount(images.labels).tolist()
    for row in classes["classes"]:
        assert row["keep_rate"] == row["drawn"] / row["examples"]
    assert sum(row["drawn"] for row in classes["classes"]) == stats["drawn"]


def test_the_time_saved_has_the_words_of_the_other_commands(dashboard, server):
    figures = {"total_seconds": 60.0, "total_saved_seconds": 30.0}
    with connect(server.url, "timed", 6, PruningConfig(ratio=0.5, epochs=2)) as store:
        store.plan(0, 0, 1)
        store.record(0, figures)
        store.flush()
    assert dashboard.of("timed", "stats").json()["time_saved"] == time_saved_in_words(figures)
    remove_run(server.url, "timed")


def test_the_runs_are_listed_with_how_far_they_are(dashboard, server):
    (run,) = (run for run in dashboard.get("/api/runs").json() if run["run"] == "digits")
    assert (run["dataset_size"], run["method"], run["epoch"]) == (1442, "sadp", 2)
    assert run["planner"].startswith("rank 0") and run["problem"] is None
    assert dashboard.get("/api/health").json() == {
        "reachable": True,
        "problem": None,
        "store": server.url,
        "version": sadp_dist.__version__,
        "images": True,
    }


@pytest.mark.parametrize("lowest", [False, True])
def test_examples_by_score_come_with_their_images(dashboard, training, images, lowest):
    rows = dashboard.of("digits", "top", k=7, lowest=lowest).json()
    indices, scores = training.top(7, lowest=lowest)
    assert [row["index"] for row in rows] == indices.tolist()
    assert [row["value"] for row in rows] == [row["score"] for row in rows] == scores.tolist()
    for row in rows:
        assert row["label"] == images.labels[row["index"]]
        assert row["name"] == images.classes[row["label"]]
        assert row["image"] == f"/api/images/{row['index']}"
        answer = dashboard.get(row["image"])
        assert answer.headers["content-type"] == "image/png"
        assert answer.content.startswith(b"\x89PNG")


def test_examples_by_change_say_the_change_and_the_score(dashboard, training):
    rows = dashboard.of("digits", "top", k=9, by="change").json()
    indices, changes = training.top(9, by="change")
    assert len(rows) == 9
    assert [(row["index"], row["value"]) for row in rows] == list(
        zip(indices.tolist(), changes.tolist(), strict=True)
    )
    assert [row["score"] for row in rows] == training.scores(indices).tolist()


def test_examples_by_change_of_a_run_that_begins_again_between_the_queries():
    with train("memory:", "anew", np.repeat([0, 1], 40)) as store:

        def query(name, arguments):
            if name == "scores":
                store.reset()
            return store.query(name, arguments)

        assert _top(RunView(query), None, 9, "change", False) == []


def test_a_thumbnail_is_the_image_shrunk_to_the_size_asked_for(tmp_path):
    from io import BytesIO

    from PIL import Image

    (tmp_path / "cat").mkdir()
    Image.new("RGB", (300, 150), (10, 200, 30)).save(tmp_path / "cat" / "0.png")
    with Dashboard(tmp_path, "--images", tmp_path) as dashboard:
        image = Image.open(BytesIO(dashboard.get("/api/images/0?size=64").content))
        assert image.size == (64, 32)
        assert image.getpixel((0, 0)) == (10, 200, 30)
        assert Image.open(BytesIO(dashboard.get("/api/images/0").content)).size == (96, 48)


def test_a_page_that_looks_again_gets_only_what_is_new(dashboard, training, images):
    first = dashboard.of("digits", "history")
    again = dashboard.client.get("/api/runs/digits/history", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    train_epoch(training, len(images), 3)

    def changed() -> bool:
        tag = {"if-none-match": first.headers["etag"]}
        return dashboard.client.get("/api/runs/digits/history", headers=tag).status_code == 200

    assert until(changed)
    assert [record["epoch"] for record in dashboard.of("digits", "history").json()] == [0, 1, 2, 3]
    until(lambda: dashboard.of("digits", "stats").json()["epoch"] == 3)


NAMES = ["a/b", "<b>x</b>", "ä 日本", "a b?c=d&e#f", "100%", "%2F", "runs/x/stats", "../up", "'\"`{{7*7}}"]


def test_a_run_may_have_any_name(dashboard, server):
    for name in NAMES:
        connect(server.url, name, 5, PruningConfig(method="random", ratio=0.4)).close()
    until(lambda: {run["run"] for run in dashboard.get("/api/runs").json()} >= set(NAMES))
    for name in NAMES:
        answer = dashboard.of(name, "stats")
        assert (answer.status_code, answer.json()["run"]) == (200, name)
        assert answer.headers["content-type"] == "application/json"
        assert dashboard.of(name, "history").json() == []
        assert dashboard.of(name, "classes").json() is None
        assert dashboard.of(name, "top").json() == []


def test_images_are_not_shown_for_a_run_of_another_data_set(dashboard, server):
    with train(server.url, "another", np.arange(40) % 4, epochs=1):
        until(lambda: dashboard.of("another", "top", k=1).status_code == 200)
        (row,) = dashboard.of("another", "top", k=1).json()
        assert row["image"] is row["name"] is row["label"] is None
        problem = dashboard.of("another", "stats").json()["images_problem"]
        assert "holds 1,442 images, but the run trained on 40; give the source and split" in problem
        assert {each["name"] for each in dashboard.of("another", "classes").json()["classes"]} == {None}


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/api/runs/nothing/stats", 404, "run 'nothing' does not exist at redis://"),
        ("/api/runs/digits/top?k=0", 422, "k='0': Input should be greater than or equal to 1"),
        ("/api/runs/digits/top?k=1001", 422, "k='1001': Input should be less than or equal to 1000"),
        ("/api/runs/digits/top?k=" + "9" * 400, 422, "k='999999"),
        ("/api/runs/digits/top?k=1e3", 422, "k='1e3'"),
        ("/api/runs/digits/top?by=name", 422, "by='name': Input should be 'score' or 'change'"),
        ("/api/runs/digits/history?since=-1", 422, "since='-1'"),
        ("/api/images/1442", 404, "image 1442 does not exist; the index must be 0 to 1,441"),
        ("/api/images/-1", 404, "image -1 does not exist"),
        ("/api/images/1?size=100000", 422, "size='100000': Input should be less than or equal to 256"),
        ("/api/nothing", 404, "Not Found"),
    ],
)
def test_what_is_wrong_is_one_line(dashboard, path, status, detail):
    answer = dashboard.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"detail"}
    line = answer.json()["detail"]
    assert line.startswith(detail) and "\n" not in line
    assert len(line) < 300


def test_without_images_there_are_none(server, training):
    with Dashboard(server.url) as dashboard:
        assert dashboard.get("/api/health").json()["images"] is False
        assert dashboard.get("/api/images/1").status_code == 404
        (row,) = dashboard.of("digits", "top", k=1).json()
        assert row["image"] is row["label"] is None


def test_a_folder_of_runs_shows_the_newest_checkpoint_of_each(tmp_path, images):
    runs = tmp_path / "runs"
    stores = {name: train("memory:", name, images.labels, epochs=1) for name in ("one", "two")}
    for name, store in stores.items():
        save(store, runs / name, 1)
    (runs / "empty").mkdir()
    for seed in ("seed0", "seed1"):
        save(stores["one"], runs / "group" / seed, 1)
    (runs / "broken" / "checkpoints" / "e0001-b000000").mkdir(parents=True)
    (runs / "broken" / "checkpoints" / "e0001-b000000" / "store.npz").write_bytes(b"PK not a store")
    with Dashboard(runs) as dashboard:
        listed = {run["run"]: run for run in dashboard.get("/api/runs").json()}
        assert set(listed) == {"one", "two", "broken", "group"}
        assert "holds the stores of 2 runs" in listed["group"]["problem"]
        assert (listed["one"]["dataset_size"], listed["one"]["epoch"]) == (len(images), 0)
        assert "is not a saved store" in listed["broken"]["problem"]
        assert dashboard.of("broken", "stats").status_code == 503
        assert dashboard.of("empty", "stats").status_code == 404
        assert dashboard.of("one", "stats").json()["pushes"] == 1

        train_epoch(stores["two"], len(images), 1)
        save(stores["two"], runs / "two", 2)
        until(lambda: dashboard.of("two", "stats").json()["epoch"] == 1)
        assert [record["epoch"] for record in dashboard.of("two", "history").json()] == [0, 1]
        assert dashboard.of("one", "stats").json()["epoch"] == 0
        shutil.rmtree(runs / "two")
        until(lambda: dashboard.of("two", "stats").status_code == 404)
        runs.rename(tmp_path / "elsewhere")
        until(lambda: dashboard.get("/api/runs").status_code == 503)
        assert (
            dashboard.get("/api/health").json()["problem"]
            == f"{runs} cannot be read: No such file or directory"
        )
        (tmp_path / "elsewhere").rename(runs)
        until(lambda: dashboard.of("one", "stats").status_code == 200)
    with Dashboard(runs / "one") as dashboard:  # a single run's
        assert [run["run"] for run in dashboard.get("/api/runs").json()] == ["one"]
        assert dashboard.of("one", "stats").json()["epoch"] == 0


def save(store, run_dir, epochs):
    folder = run_dir / "checkpoints" / f"e{epochs:04d}-b000000"
    folder.mkdir(parents=True)
    store.save(folder / "store.npz")
