"""Events from their files to a .beton, and from there to a contact sheet, as the commands do it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sadp_dist.cli.beton import beton
from sadp_dist.cli.contact_sheet import draw_contact_sheet
from sadp_dist.data import DATASETS, open_dataset
from sadp_dist.data.simulated_event_camera import film_dataset
from sadp_dist.errors import UsageError

pytest.importorskip("ffcv")

from sadp_dist.loading import BetonArrays, beton_labels, beton_shape


class Pictures:
    labels = np.arange(6) % 2

    def __getitem__(self, index):
        noise = np.random.default_rng(index).integers(0, 256, (6, 6), np.uint8)
        return Image.fromarray(noise), int(self.labels[index])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    film_dataset("cifar10-dvs", Pictures(), folder, train=2, test=1, loops=1)
    return folder


@pytest.fixture(scope="module")
def written(source):
    out = source.parent / "train.beton"
    beton(str(source), out, split="train", dataset="cifar10-dvs", verify=False)
    return out


def test_a_dataset_of_events_is_written_as_its_frames(source, written):
    assert beton_shape(written) == DATASETS["cifar10-dvs"].shape == (10, 2, 48, 48)
    assert beton_labels(written).tolist() == [0, 0, 1, 1]
    for stored, expected in zip(
        BetonArrays(written), open_dataset("cifar10-dvs", source, "train", verify=False), strict=True
    ):
        np.testing.assert_array_equal(stored[0], expected[0])
        assert stored[0].dtype == np.float16 and stored[1] == expected[1]


def test_what_is_for_images_is_refused_and_a_part_of_a_dataset_too(source):
    asked = {"source": str(source), "out": Path("out.beton"), "split": "train", "dataset": "cifar10-dvs"}
    for option in ({"max_side": 48}, {"quality": 50}):
        with pytest.raises(UsageError, match="^--format, --max-side and --quality are for images; cifar10-"):
            beton(**asked, verify=False, **option)
    with pytest.raises(UsageError, match="train has 4 examples, but cifar10-dvs has 9,000; to get"):
        beton(**asked)


def test_a_contact_sheet_shows_what_moved(written, tmp_path):
    sheet = tmp_path / "sheet.png"
    scores = np.array([3.0, 2.0], np.float32)
    names = ["automobile", "airplane"]
    assert draw_contact_sheet(str(written), None, np.array([3, 0]), scores, sheet) == names
    pixels = np.asarray(Image.open(sheet).convert("RGB")).reshape(-1, 3).astype(int)
    assert ((pixels[:, 0] > pixels[:, 1] + 50) & (pixels[:, 2] > pixels[:, 1] + 50)).any()  # red and blue
    with pytest.raises(UsageError, match="^--split train: a .beton file holds one split; leave it out$"):
        draw_contact_sheet(str(written), "train", np.array([3]), scores, sheet)
