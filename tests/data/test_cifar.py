"""CIFAR's archives: what Python 2 pickled comes out as it went in, and no pickle runs anything."""

from __future__ import annotations

import pickle
import tarfile

import numpy as np
import pytest

from sadp_dist.data.cifar import open_cifar10, open_cifar100
from sadp_dist.errors import UsageError
from tests.data.published import cifar_files, write_tar

OPEN = {10: open_cifar10, 100: open_cifar100}
ARCHIVE = {10: "cifar-10-python.tar.gz", 100: "cifar-100-python.tar.gz"}


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("source", ["archive", "its folder", "unpacked"])
def test_images_and_labels_come_out_as_they_were_published(tmp_path, classes, source):
    files, expected = cifar_files(classes)
    path = write_tar(tmp_path / ARCHIVE[classes], files)
    if source != "archive":
        path = tmp_path
    if source == "unpacked":
        with tarfile.open(tmp_path / ARCHIVE[classes]) as tar:
            tar.extractall(tmp_path, filter="data")
        (tmp_path / ARCHIVE[classes]).unlink()
    for split in ("train", "test"):
        batches = [value for name, value in expected.items() if ("test" in name) == (split == "test")]
        pixels, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        images = OPEN[classes](path, split)
        assert images.classes == [f"class {k}" for k in range(classes)]
        assert images.labels.tolist() == labels.tolist()
        assert len(images) == len(pixels)
        for k in range(len(images)):
            image, label = images[k]
            assert np.array_equal(np.asarray(image), pixels[k])
            assert label == labels[k]


def test_an_imagefolder_is_read_as_well(digits):
    assert len(open_cifar10(digits, "test")) == 355


def test_a_pickle_that_names_a_function_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return eval, ("1 / 0",)  # not print, which Ray replaces

    files, _ = cifar_files(10)
    files["cifar-10-batches-py/data_batch_3"] = pickle.dumps({"data": Evil(), "labels": []}, protocol=2)
    path = write_tar(tmp_path / "cifar-10-python.tar.gz", files)
    with pytest.raises(UsageError, match=r"data_batch_3 cannot be read \(it names \w+\.eval\)"):
        open_cifar10(path, "train")


def test_what_is_missing_or_damaged_is_named(tmp_path):
    files, _ = cifar_files(100)
    path = write_tar(tmp_path / "cifar-100-python.tar.gz", files)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"not a complete \.zip, \.tar or \.tar\.gz"):
        open_cifar100(path, "train")
    del files["cifar-100-python/train"]
    with pytest.raises(UsageError, match="has no file train; download it again"):
        open_cifar100(write_tar(path, files), "train")
