"""The ``data:`` section of a training run's configuration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sadp_dist.data.registry import DATASETS
from sadp_dist.sections import OnlyWith, Section

Positive = Annotated[int, Field(ge=1)]


class DataConfig(Section):
    """The examples, and what happens to them before the network.

    Sequences (events and sound) go to the network as they are. `image_size`, `mean`, `std`, `augment`,
    `autoaugment` and `cutout` do not apply to them.

    Attributes:
        train: the training examples: a .beton file, or with `loader: torch` an ImageFolder folder, a .zip of
            one, a parquet file, or the published files of a `dataset`.
        test: the test examples, likewise.
        dataset: the name of a public dataset, one of `sadp_dist.data.DATASETS`, or of a dataset that you
            registered. It sets `classes`, and messages say where to get the files. None: your own data.
        loader: "ffcv" reads .beton files, which `sadp-dist beton` writes; "torch" reads everything else.
        train_split: the sub-folder of `train`, or for parquet the prefix of the file names. None: "train" if
            `dataset` is set.
        test_split: the same for `test`. None: "test" if `dataset` is set.
        image_column: the column of the images in parquet files. None: the usual names.
        label_column: the column of the labels in parquet files. None: the usual names.
        image_size: side of the square images that the network sees, in pixels.
        classes: number of classes. None: as many as the dataset or the training labels have.
        channels: 3 reads images as RGB, 1 as grey and 4 as RGBA. A .beton file has its own number of
            channels, see `sadp-dist beton --channels`.
        mean: what is subtracted from each channel, in 0..255; a single value, or three equal ones, apply to
            any number of channels.
        std: what the channels are divided by after that, likewise.
        augment: "none", "crop" (pad, crop and flip) or "resized-crop". The random numbers depend on the seed,
            the epoch and the example.
        autoaugment: AutoAugment with the policy for "cifar10" (also for CIFAR-100) or "imagenet", applied
            after cropping and flipping and before `cutout`. None: no AutoAugment.
        padding: pixels that are added on each side before cropping.
        flip: whether half of the images are mirrored.
        cutout: side of a square that is blanked, in pixels. 0 blanks nothing.
        workers: threads (ffcv, at least one) or processes (torch) that load on each rank.
        page_window: for a .beton file larger than memory: the number of its pages (of 8 MiB) that each rank
            keeps in memory. The file is read page by page, once an epoch, and examples are mixed within the
            window. `pruning.shard_block` is then 16384 unless you set it. None: any order, through the
            operating system's cache.
    """

    kinds = DATASETS
    kind_key = "dataset"

    train: str
    test: str
    dataset: str | None = None
    loader: Literal["ffcv", "torch"] = "ffcv"
    train_split: Annotated[str | None, OnlyWith("loader", "torch")] = None
    test_split: Annotated[str | None, OnlyWith("loader", "torch")] = None
    image_column: Annotated[str | None, OnlyWith("loader", "torch")] = None
    label_column: Annotated[str | None, OnlyWith("loader", "torch")] = None
    image_size: Positive = 32
    classes: Positive | None = None
    channels: Annotated[Literal[1, 3, 4], OnlyWith("loader", "torch")] = 3
    mean: Annotated[tuple[float, ...], Field(min_length=1, max_length=4)] = (0.0, 0.0, 0.0)
    std: Annotated[tuple[float, ...], Field(min_length=1, max_length=4)] = (255.0, 255.0, 255.0)
    augment: Literal["none", "crop", "resized-crop"] = "none"
    autoaugment: Literal["cifar10", "imagenet"] | None = None
    padding: Annotated[int, Field(ge=0), OnlyWith("augment", "crop")] = 4
    flip: Annotated[bool, OnlyWith("augment", "crop", "resized-crop")] = True
    cutout: Annotated[int, Field(ge=0), OnlyWith("augment", "crop", "resized-crop")] = 0
    workers: Annotated[int, Field(ge=0)] = 1
    page_window: Annotated[Positive | None, OnlyWith("loader", "ffcv")] = None
