"""ImageNet (ILSVRC2012), unpacked to one folder for each class."""

from __future__ import annotations

from pathlib import Path

from sadp_dist.data.examples import Examples
from sadp_dist.data.images import open_images, open_validation_images
from sadp_dist.data.registry import SourceFile, register_dataset


@register_dataset(
    "imagenet",
    kind="images",
    train=1_281_167,
    val=50_000,
    test=50_000,
    classes=1000,
    shape=(3, 224, 224),
    source="register at image-net.org, download ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar, "
    "and unpack them to train/<class>/<image> and val/<class>/<image>",
    files=(
        SourceFile("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e", "train"),
        SourceFile("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622", "val"),
    ),
)
def open_imagenet(path: Path, split: str) -> Examples:
    """Open the images of a split; "test" is "val", since the labels of the test images are not published."""
    return open_images(path, split) if split == "train" else open_validation_images(path)
