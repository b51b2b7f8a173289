"""Datasets. `open_images` reads labelled images from a folder, a .zip or parquet files. `open_dataset` reads
a public dataset, by its name, from its published files."""

from sadp_dist.data.examples import Examples
from sadp_dist.data.image_source import ImageSource
from sadp_dist.data.images import open_images
from sadp_dist.data.registry import DATASETS, Dataset, SourceFile, open_dataset, register_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "Examples",
    "ImageSource",
    "SourceFile",
    "open_dataset",
    "open_images",
    "register_dataset",
]
