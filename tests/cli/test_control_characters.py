"""Names with control characters are shown escaped, and do nothing to a terminal."""

import json
import os
import re

import pytest
from PIL import Image

from sadp_dist import PruningConfig, connect
from sadp_dist.terminal import visible
from tests.forked import run_forked
from tests.store.redis_server import RedisServer

EVIL = "a\x1b]0;title\x07\x1b[31m\x9b2J\n\u202eb\u2066"
SHOWN = r"a\u001b]0;title\u0007\u001b[31m\u009b2J\u000a\u202eb\u2066"
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def sadp_dist(*words, status=0):
    done = run_forked(["-m", "sadp_dist", *words], env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == status, done.stderr
    for printed in (done.stdout, done.stderr):
        assert not HARMFUL.search(printed), repr(printed)
    return done.stdout + done.stderr


def test_visible_is_json_and_changes_no_other_text():
    assert visible(EVIL) == SHOWN and json.loads(f'"{visible(EVIL)}"') == EVIL
    for text in ("Zürich", "東京", "שלום", "🧑\u200d🚀", "a\tb"):
        assert visible(text) == text
    assert visible("a\nb", lines=True) == "a\nb"
    assert visible("bytes \udcff") == r"bytes \udcff"


def test_the_names_of_classes_are_shown_escaped(tmp_path):
    for split in ("train", "test"):
        for number, name in enumerate((EVIL, "plain")):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (8, 8), (number * 99, 0, 0)).save(tmp_path / split / name / "0.png")
    assert SHOWN in sadp_dist("beton", tmp_path, "--split", "train", "--dry-run")
    (tmp_path / "train" / EVIL / "0.png").write_bytes(b"no image")
    said = sadp_dist("beton", tmp_path, tmp_path / "x.beton", "--split", "train", status=2)
    assert r"image train/a\u001b]0;title" in said and "with --skip-damaged" in said


def test_the_names_of_runs_are_shown_escaped(tmp_path):
    with RedisServer(tmp_path) as redis:
        connect(redis.url, EVIL, 10, PruningConfig(ratio=0.5, epochs=2)).close()
        listed = sadp_dist("runs", "--store", redis.url)
        assert SHOWN in listed
        assert json.loads(sadp_dist("runs", "--store", redis.url, "--json"))[0]["run"] == EVIL
        assert "run a" in sadp_dist("stats", "--store", redis.url, "--run", EVIL)
        said = sadp_dist("stats", "--store", redis.url, "--run", "other", status=2)
        assert r"\u001b" in said and len(said.splitlines()) == 1
        sadp_dist("rm", "--store", redis.url, "--run", EVIL, "--yes")


@pytest.mark.slow
def test_a_run_with_such_a_name_trains_and_is_reported(tmp_path):
    for split in ("train", "test"):
        for number, name in enumerate((EVIL, "plain")):
            (tmp_path / split / name).mkdir(parents=True)
            for image in range(4):
                Image.new("RGB", (8, 8), (number * 99, image, 0)).save(
                    tmp_path / split / name / f"{image}.png"
                )
    recipe = {
        "name": EVIL,
        "output": str(tmp_path / "run"),
        "data": {
            **{"train": str(tmp_path), "train_split": "train", "test": str(tmp_path), "test_split": "test"},
            **{"loader": "torch", "workers": 0, "image_size": 8},
        },
        "network": {"name": "small_cnn", "time_steps": 1},
        "training": {"epochs": 1, "batch_size": 4},
        "tracking": {"trackers": []},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    sadp_dist("check", tmp_path / "recipe.yaml")
    sadp_dist("train", tmp_path / "recipe.yaml")
    sadp_dist("runs", "--store", tmp_path)
    sadp_dist("stats", "--store", tmp_path / "run")
    sadp_dist("report", tmp_path / "run", "--images", tmp_path, "--split", "train")
    pages = list((tmp_path / "run" / "report").glob("*.html"))
    assert pages and not [page for page in pages if HARMFUL.search(page.read_text())]
    assert r"\u202eb" in pages[0].read_text()
