"""`sadp-dist beton` says what it found and what it left out, and can leave out what is damaged."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from sadp_dist.cli import writing_progress
from sadp_dist.cli.beton import beton
from sadp_dist.errors import UsageError

pytest.importorskip("ffcv")

from sadp_dist.loading import beton_classes, beton_description, beton_labels, beton_shape, beton_size


def add_images(folder: Path, count: int, mode: str = "RGB", side: int = 8) -> None:
    folder.mkdir(parents=True)
    for k in range(count):
        noise = np.random.default_rng(k).integers(0, 256, (side, side, 3), np.uint8)
        Image.fromarray(noise).convert(mode).save(folder / f"{k}.png")


@pytest.fixture
def source(tmp_path):
    """Two classes of five images; four damaged ones, and files that are no images."""
    folder = tmp_path / "source"
    for name in "ab":
        add_images(folder / name, 5)
    whole = (folder / "a" / "0.png").read_bytes()
    for k in range(4):
        (folder / "a" / f"bad{k}.png").write_bytes(whole[:60])
    (folder / "a" / "empty.jpg").touch()
    (folder / "b" / "notes.txt").write_text("notes")
    return folder


def test_the_first_damaged_images_are_named_and_nothing_is_written(source, tmp_path):
    with pytest.raises(UsageError) as error:
        beton(str(source), tmp_path / "out.beton", workers=1)
    said = str(error.value)
    assert all(f"a/bad{k}.png (image file is truncated)" in said for k in range(3)) and "bad3" not in said
    assert said.endswith("replace or remove them, or leave out all such images with --skip-damaged")
    assert not (tmp_path / "out.beton").exists()


def test_skip_damaged_leaves_them_out_and_everything_left_out_is_said(source, tmp_path, capsys):
    beton(str(source), tmp_path / "out.beton", skip_damaged=True, workers=1)
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("damaged: ")] == [
        f"damaged: a/bad{k}.png (image file is truncated)" for k in range(4)
    ]
    assert f"wrote 10 images of 2 classes to {tmp_path}/out.beton" in said
    assert "left out, empty file: 1 (a/empty.jpg)" in said
    assert "(.txt): 1 (b/notes.txt)" in said
    assert "left out, damaged image: 4 (a/bad0.png, a/bad1.png, a/bad2.png and 1 more)" in said
    assert beton_size(tmp_path / "out.beton") == 10
    assert beton_description(tmp_path / "out.beton").left_out["damaged image"].count == 4


def test_the_folder_of_the_classes_is_said_where_it_is_not_the_source(tmp_path, capsys):
    for name in "ab":
        add_images(tmp_path / "pets" / "pets" / name, 1)
    beton(str(tmp_path / "pets"), tmp_path / "out.beton", workers=1)
    assert capsys.readouterr().out.startswith("the classes are the folders in pets\n")
    beton(str(tmp_path / "pets"), dry_run=True)
    assert "classes the folders in pets" in " ".join(capsys.readouterr().out.split())


def test_a_dry_run_shows_classes_sizes_modes_and_problems_and_writes_nothing(source, tmp_path, capsys):
    add_images(source / "c", 3, mode="L", side=9)
    before = sorted(tmp_path.rglob("*"))
    beton(str(source), dry_run=True)
    said = " ".join(capsys.readouterr().out.split())
    for expected in (
        "0 a 9",
        "1 b 5",
        "2 c 3",
        "images 17 of 3 classes",
        "8 x 8: 10, 9 x 9: 3",
        "RGB: 10, L: 3",
        "damaged 4: a/bad0.png",
        "empty file 1: a/empty.jpg",
    ):
        assert expected in said
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(UsageError, match="^OUT.beton is missing; give the file to write, or --dry-run"):
        beton(str(source))


@pytest.mark.parametrize("train", ["train.beton", "train"])
def test_a_test_set_that_lacks_a_class_gets_the_numbers_of_the_training_set(tmp_path, train):
    for name in "abc":
        add_images(tmp_path / "train" / name, 2)
    for name in "bc":
        add_images(tmp_path / "test" / name, 1)
    beton(str(tmp_path / "train"), tmp_path / "train.beton", workers=1)
    beton(str(tmp_path / "test"), tmp_path / "test.beton", classes_from=str(tmp_path / train), workers=1)
    assert beton_labels(tmp_path / "test.beton").tolist() == [1, 2]
    assert beton_classes(tmp_path / "test.beton") == ("a", "b", "c")
    add_images(tmp_path / "test" / "d", 1)
    with pytest.raises(UsageError, match="has images of d, not among the given classes"):
        beton(str(tmp_path / "test"), tmp_path / "x.beton", classes_from=str(tmp_path / train), workers=1)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (4, "RGBA")])
def test_grey_and_rgba_images_are_stored_as_they_are(tmp_path, channels, mode):
    from sadp_dist.loading.beton_images import BetonImages

    add_images(tmp_path / "source" / "a", 3, mode)
    beton(str(tmp_path / "source"), tmp_path / "out.beton", channels=channels, workers=1)
    assert beton_shape(tmp_path / "out.beton") == (channels, 8, 8)
    shown, label = BetonImages(tmp_path / "out.beton")[2]
    with Image.open(tmp_path / "source" / "a" / "2.png") as stored:
        assert (shown.mode, label, shown.tobytes()) == (mode, 0, stored.tobytes())
    add_images(tmp_path / "source" / "b", 1, mode, side=9)
    with pytest.raises(UsageError, match=f"channels={channels}: all images must have the same size, but im"):
        beton(str(tmp_path / "source"), tmp_path / "out.beton", channels=channels, workers=1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"channels": 2}, "^--channels 2: must be 1 .grey., 3 .RGB. or 4 .RGBA.$"),
        (
            {"channels": 1, "max_side": 8},
            "^--channels 1 stores raw pixels; leave out --format jpg and --max-",
        ),
        ({"label_column": "y"}, "^--image-column and --label-column are for parquet"),
        ({"split": "nowhere"}, "^split 'nowhere' is not in"),
        ({"classes_from": "nowhere"}, "^--classes-from nowhere: source 'nowhere' does not exist"),
        (
            {"dataset": "cifar10", "split": "train", "classes_from": "x"},
            "^--classes-from is for images of your own; leave it out, or leave out --dataset$",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(source, tmp_path, options, expected):
    with pytest.raises(UsageError, match=expected):
        beton(str(source), tmp_path / "out.beton", workers=1, **options)


def test_a_log_gets_a_line_now_and_then_and_a_terminal_a_bar(monkeypatch):
    monkeypatch.setattr(writing_progress, "EVERY", 0.0)

    def shown(terminal):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
        with writing_progress.writing_progress(console, "writing x.beton", 200, "images") as advance:
            advance(0)
            advance(50)
            advance(150)
        return console.file.getvalue()

    lines = shown(False).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("writing x.beton: 50 of 200 images, ") and lines[0].endswith(" s left")
    assert "200/200" in shown(True)
