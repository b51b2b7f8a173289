"""Datasets. `open_images` reads labelled images from a folder, a .zip or parquet files. `open_dataset` reads
a public dataset, by its name, from its published files."""

from sadp_dist.data.config import DataConfig
from sadp_dist.data.damaged_images import damaged_error, find_damaged
from sadp_dist.data.event_frames import EventFrames, Events, Frames
from sadp_dist.data.examples import Examples
from sadp_dist.data.image_source import DamagedImage, ImageSource
from sadp_dist.data.images import open_images
from sadp_dist.data.registry import DATASETS, Dataset, SourceFile, open_dataset, register_dataset
from sadp_dist.data.sound_features import log_mel

__all__ = [
    "DATASETS",
    "DamagedImage",
    "DataConfig",
    "Dataset",
    "EventFrames",
    "Events",
    "Examples",
    "Frames",
    "ImageSource",
    "SourceFile",
    "damaged_error",
    "find_damaged",
    "log_mel",
    "open_dataset",
    "open_images",
    "register_dataset",
]
