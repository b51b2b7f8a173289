"""Tiny ImageNet: labels from folders in training, from a text file in validation, of the same numbers."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from sadp_dist.data.tiny_imagenet import open_tiny_imagenet
from sadp_dist.errors import UsageError
from tests.data.published import tiny_imagenet_files


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("source", ["zip", "its folder", "unpacked"])
def test_both_splits_are_read_with_their_labels(tmp_path, source):
    path = write_zip(tmp_path / "tiny-imagenet-200.zip", tiny_imagenet_files())
    if source != "zip":
        path = tmp_path
    if source == "unpacked":
        with zipfile.ZipFile(tmp_path / "tiny-imagenet-200.zip") as archive:
            archive.extractall(tmp_path)
        (tmp_path / "tiny-imagenet-200.zip").unlink()
    train, val = open_tiny_imagenet(path, "train"), open_tiny_imagenet(path, "val")
    assert train.classes == val.classes == ["n6978", "n6989", "n7000"]
    assert (len(train), len(val)) == (6, 4)
    for images in (train, val):
        for k in range(len(images)):
            image, label = images[k]
            assert image.size == (64, 64)
            assert label == images.labels[k] == 2 - np.asarray(image)[0, 0, 0] // 40
    assert [np.asarray(val[k][0])[0, 0, 1] for k in range(4)] == [0, 20, 40, 60]
    test = open_tiny_imagenet(path, "test")
    assert test.labels.tolist() == val.labels.tolist()


def test_class_folders_in_both_splits_are_read_as_well(tmp_path):
    files = {
        name.replace("val/images/val_", "val/n7000/"): data
        for name, data in tiny_imagenet_files().items()
        if "annotations" not in name and "/test/" not in name
    }
    path = write_zip(tmp_path / "images.zip", files)
    assert open_tiny_imagenet(path, "val").labels.tolist() == [2] * 4
    assert open_tiny_imagenet(path, "test").classes == open_tiny_imagenet(path, "train").classes


def test_annotations_that_do_not_fit_are_refused(tmp_path):
    files = tiny_imagenet_files()
    name = "tiny-imagenet-200/val/val_annotations.txt"
    files[name] = files[name].replace(b"n7000", b"n1")
    path = write_zip(tmp_path / "tiny-imagenet-200.zip", files)
    with pytest.raises(UsageError, match=r"val_annotations\.txt names 'n1', which is not a class of train/"):
        open_tiny_imagenet(path, "val")
