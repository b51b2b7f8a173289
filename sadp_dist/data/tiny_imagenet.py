"""Tiny ImageNet: 200 classes, 64 x 64 pixels. The labels of the validation images are in a text file."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np

from sadp_dist.data.examples import Examples
from sadp_dist.data.image_files import FilesOfImages
from sadp_dist.data.images import open_images, open_validation_images
from sadp_dist.data.registry import SourceFile, register_dataset
from sadp_dist.errors import UsageError

ANNOTATIONS = "val_annotations.txt"


@register_dataset(
    "tiny-imagenet",
    kind="images",
    train=100_000,
    val=10_000,
    test=10_000,
    classes=200,
    shape=(3, 64, 64),
    source="download tiny-imagenet-200.zip from cs231n.stanford.edu/tiny-imagenet-200.zip",
    files=(SourceFile("tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"),),
)
def open_tiny_imagenet(path: Path, split: str) -> Examples:
    """Open Tiny ImageNet: `tiny-imagenet-200.zip`, its unpacked folder, or class folders for both splits.

    Args:
        path: the .zip, or a folder.
        split: "train", "val" or "test". Both "val" and "test" are the validation images, as the labels of the
            test images were never published.

    Raises:
        UsageError: files are missing or damaged.
    """
    packed = path / "tiny-imagenet-200.zip"
    train = open_images(packed if packed.is_file() else path, "train")
    if not isinstance(train, FilesOfImages):  # parquet
        return train if split == "train" else open_validation_images(path)
    root = train.paths[0].partition("train/")[0]
    annotations = train.read(f"{root}val/{ANNOTATIONS}")
    if annotations is None:
        return train if split == "train" else open_validation_images(path)
    # The validation images are in a folder "images", which is not a class.
    present, labels = np.unique(train.labels, return_inverse=True)
    classes = [train.classes[k] for k in present]
    images = copy.copy(train)
    images.classes, images.labels = classes, labels.astype(np.int64)
    if split != "train":
        number = {name: k for k, name in enumerate(classes)}
        lines = [line.split("\t") for line in annotations.decode().splitlines() if line]
        try:
            images.labels = np.array([number[line[1]] for line in lines], dtype=np.int64)
        except (KeyError, IndexError) as error:
            raise UsageError(
                f"{train.name}: {ANNOTATIONS} names {error}, which is not a class of train/"
            ) from error
        images.left_out = {}
        images.paths = [f"{root}val/images/{line[0]}" for line in lines]
    return images
