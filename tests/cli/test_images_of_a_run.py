"""Images that are shown beside a run's scores must be those that it trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sadp_dist
from sadp_dist.cli.contact_sheet import draw_contact_sheet
from sadp_dist.dashboard.api import _shows, _stats, _top
from sadp_dist.dashboard.thumbnails import Thumbnails
from sadp_dist.data import open_images
from sadp_dist.data.fingerprints import fingerprints_of
from sadp_dist.errors import UsageError
from sadp_dist.loading import beton_fingerprints, write_beton
from sadp_dist.loading.shown_images import open_shown_images
from sadp_dist.report.hardest_examples import check_data
from sadp_dist.report.run_record import RunRecord
from sadp_dist.store import RunView, open_snapshot

OTHER = (
    r"holds other images, or other labels, than the run trained on \(their fingerprints differ\); give the"
)


def folder(root: Path, seed: int) -> Path:
    for k in range(12):
        (root / f"{k % 2}").mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng([seed, k]).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(noise).save(root / f"{k % 2}" / f"{k}.png")
    return root


@pytest.fixture
def images(tmp_path):
    return folder(tmp_path / "images", 0)


@pytest.fixture(params=["folder", "beton", "an older version"])
def run(request, images, tmp_path) -> RunView:
    """A run that trained on the images, from its saved store."""
    data = fingerprints_of(open_images(images))
    if request.param == "beton":
        write_beton(images, tmp_path / "train.beton", workers=1)
        data = beton_fingerprints(tmp_path / "train.beton")
    if request.param == "an older version":
        data = {}
    pruning = sadp_dist.PruningConfig(epochs=2)
    with sadp_dist.connect("memory:", "run", 12, pruning, np.zeros(12, int), data=data) as store:
        store.push(np.arange(12), np.arange(12.0), epoch=0)
        store.save(tmp_path / "store.npz")
    return open_snapshot(tmp_path / "store.npz")


def ways(source: Path, run: RunView, out: Path):
    """Every command that shows images, as a function that returns why it refuses them."""

    def refused(show):
        try:
            show()
        except UsageError as error:
            return str(error)
        return None

    indices, scores = run.top(2)
    record = RunRecord(out, {}, [], False, run)
    return {
        "top": refused(lambda: draw_contact_sheet(str(source), None, indices, scores, out, run.stats())),
        "report": refused(lambda: check_data(open_images(source), record, f"--images {source}")),
        "dashboard": _stats(run, Thumbnails(str(source), None))["images_problem"],
    }


def test_the_images_of_a_run_are_shown_also_after_they_moved(run, images, tmp_path):
    moved = images.rename(tmp_path / "moved")
    assert set(ways(moved, run, tmp_path / "sheet.png").values()) == {None}
    thumbnails = Thumbnails(str(moved), None)
    assert _shows(thumbnails, run)
    assert {row["image"] for row in _top(run, thumbnails, 1, "score", False)} == {"/api/images/11"}


def test_the_dashboard_and_the_report_read_a_beton_too(run, images, tmp_path):
    write_beton(images, tmp_path / "small.beton", workers=1)
    thumbnails = Thumbnails(str(tmp_path / "small.beton"), None)
    (row,) = _top(run, thumbnails, 1, "score", False)
    assert (row["name"], row["label"], row["image"]) == ("1", 1, "/api/images/11")
    check_data(
        open_shown_images(str(tmp_path / "small.beton"), None), RunRecord(tmp_path, {}, [], False, run), ""
    )


def test_other_images_are_refused_even_if_there_are_as_many(run, tmp_path):
    if not run.stats().data:
        pytest.skip("an older version recorded no fingerprints")
    other = folder(tmp_path / "other", seed=1)
    for way, said in ways(other, run, tmp_path / "sheet.png").items():
        assert said is not None, way
        with pytest.raises(UsageError, match=OTHER):
            raise UsageError(said)
    assert not (tmp_path / "sheet.png").exists()
    thumbnails = Thumbnails(str(other), None)
    (row,) = _top(run, thumbnails, 1, "score", False)
    assert row["image"] is row["name"] is row["label"] is None


def test_another_number_of_images_is_refused(run, images, tmp_path):
    (images / "0" / "0.png").unlink()
    said = set(ways(images, run, tmp_path / "sheet.png").values())
    assert said == {
        f"--images {images} holds 11 images, but the run trained on 12; give the source and split that the "
        "run trained on"
    }
