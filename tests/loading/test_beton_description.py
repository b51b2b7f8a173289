"""A .beton says what is in it: classes, source, files left out, and a fingerprint of its examples."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from torch.utils.data import Subset

from sadp_dist.data import open_images
from sadp_dist.data.fingerprints import fingerprints_of, same_examples
from sadp_dist.errors import UsageError

pytest.importorskip("ffcv")

from ffcv.fields import IntField, RGBImageField
from ffcv.loader import Loader
from ffcv.writer import DatasetWriter

from sadp_dist.loading import beton_description, beton_fingerprints, write_arrays, write_beton


class Pictures:
    """Noise of different sizes in two classes; `changed` replaces examples."""

    classes = ("cat", "dog")
    kind = "noise"
    left_out = {"empty file": ["a.png", "b.png", "c.png", "d.png"], "nothing here": []}  # noqa: RUF012

    def __init__(self, changed=None):
        self.changed = changed or {}

    def __len__(self):
        return 250

    def __getitem__(self, index):
        noise = np.random.default_rng(index).integers(0, 256, (8 + index % 5, 9, 3), np.uint8)
        return self.changed.get(index, (noise, index % 2))

    def fingerprint(self):
        return "0123abcd"


def content(path):
    return beton_fingerprints(path)["content"]


def test_it_has_the_classes_the_source_and_what_was_left_out(tmp_path):
    write_beton(Pictures(), tmp_path / "x.beton")
    found = beton_description(tmp_path / "x.beton")
    assert found.classes == ("cat", "dog") and found.kind == "noise" and found.examples == 250
    assert {reason: (out.count, out.first) for reason, out in found.left_out.items()} == {
        "empty file": (4, ("a.png", "b.png", "c.png"))
    }
    assert beton_fingerprints(tmp_path / "x.beton")["noise"] == "0123abcd"


def test_its_fingerprint_is_of_the_examples_and_not_of_how_the_file_was_written(tmp_path):
    write_beton(Pictures(), tmp_path / "one.beton", workers=1)
    write_beton(Pictures(), tmp_path / "three.beton", workers=3)
    assert content(tmp_path / "one.beton") == content(tmp_path / "three.beton")
    shutil.move(tmp_path / "one.beton", tmp_path / "moved.beton")
    assert content(tmp_path / "moved.beton") == content(tmp_path / "three.beton")


@pytest.mark.parametrize("what", ["a pixel", "a label", "the order"])
def test_another_pixel_label_or_order_is_another_fingerprint(tmp_path, what):
    of = Pictures()
    pixels = of[7][0].copy()
    pixels[0, 0, 0] ^= 1
    changed = {
        "a pixel": {7: (pixels, 1)},
        "a label": {7: (of[7][0], 0)},
        "the order": {7: of[17], 17: of[7]},  # of the same label and size
    }[what]
    write_beton(of, tmp_path / "x.beton")
    write_beton(Pictures(changed), tmp_path / "y.beton")
    one, other = beton_fingerprints(tmp_path / "x.beton"), beton_fingerprints(tmp_path / "y.beton")
    assert one["content"] != other["content"]
    assert (one["labels"] != other["labels"]) == (what == "a label")


def test_arrays_have_one_too(tmp_path):
    arrays = [(np.full((2, 3), i, np.float32), i % 3) for i in range(120)]
    write_arrays(arrays, tmp_path / "x.beton", workers=2)
    write_arrays([*arrays[:-1], (arrays[0][0], 119 % 3)], tmp_path / "y.beton", workers=1)
    assert content(tmp_path / "x.beton") != content(tmp_path / "y.beton")
    assert beton_description(tmp_path / "x.beton").classes is None


def test_plain_ffcv_reads_the_file_and_the_description_takes_no_page(digits, digits_beton):
    batches = Loader(str(digits_beton), batch_size=100, num_workers=1, drop_last=False)
    assert batches.reader.alloc_table["ptr"].min() == batches.reader.page_size
    read = np.concatenate([label.numpy() for _, label, _ in batches]).ravel()
    assert np.array_equal(read, open_images(digits).labels)


def test_a_file_of_ffcvs_own_writer_has_none_but_still_has_a_fingerprint(tmp_path):
    def write(name, changed=None):
        fields = {"image": RGBImageField(write_mode="raw"), "label": IntField(), "index": IntField()}
        rows = [(*Pictures(changed)[i], i) for i in range(250)]
        DatasetWriter(str(tmp_path / name), fields, num_workers=1).from_indexed_dataset(rows)
        return beton_fingerprints(tmp_path / name)

    one, other = write("one.beton"), write("other.beton", {7: Pictures()[8]})
    assert beton_description(tmp_path / "one.beton") is None
    assert one == write("again.beton") and one["sizes"] != other["sizes"]
    assert not same_examples(one, other)


def test_a_part_of_a_dataset_has_the_classes_of_the_whole(tmp_path):
    write_beton(Subset(Pictures(), range(0, 250, 2)), tmp_path / "x.beton", workers=1)
    assert beton_description(tmp_path / "x.beton").classes == ("cat", "dog")


def test_labels_without_a_class_name_are_refused(tmp_path):
    with pytest.raises(UsageError, match="^source: has labels from 0 to 2, but 2 class names; label k must"):
        write_beton(Pictures({7: (Pictures()[7][0], 2)}), tmp_path / "x.beton")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_and_its_beton_are_the_same_examples(digits, digits_beton):
    folder = open_images(digits)
    of_beton, of_folder = beton_fingerprints(digits_beton), fingerprints_of(folder)
    assert beton_description(digits_beton).classes == tuple("0123456789")
    assert same_examples(of_beton, of_folder)
    assert not same_examples(of_beton, {**of_folder, folder.kind: "another"})
    assert same_examples(of_beton, {"zip": "another kind", "labels": of_folder["labels"]})
