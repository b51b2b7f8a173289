"""From an epoch's shard to batches: samplers, loaders (FFCV and torch), .beton files, keyed augmentation.

Each module is imported at the first use of its names: what needs no torch does not wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sadp_dist.loading.augment import pad_crop_flip
    from sadp_dist.loading.autoaugment import auto_augment
    from sadp_dist.loading.beton import (
        beton_classes,
        beton_description,
        beton_fields,
        beton_fingerprints,
        beton_image_sizes,
        beton_labels,
        beton_pages,
        beton_size,
    )
    from sadp_dist.loading.beton_arrays import BetonArrays, beton_holds_planes, beton_shape, write_arrays
    from sadp_dist.loading.ffcv_loader import FFCVLoader
    from sadp_dist.loading.image_writer import write_beton
    from sadp_dist.loading.indexed_loader import BatchLoader
    from sadp_dist.loading.mean_loss import weighted_mean
    from sadp_dist.loading.page_order import PageOrder
    from sadp_dist.loading.pruning_sampler import PruningSampler
    from sadp_dist.loading.random_crop import RandomCrop
    from sadp_dist.loading.sampler import SequentialShard
    from sadp_dist.loading.torch_loader import TorchLoader
    from sadp_dist.loading.weighted_sampler import DistributedWeightedSampler

_LATER = {
    "BatchLoader": "sadp_dist.loading.indexed_loader",
    "pad_crop_flip": "sadp_dist.loading.augment",
    "PageOrder": "sadp_dist.loading.page_order",
    "PruningSampler": "sadp_dist.loading.pruning_sampler",
    "RandomCrop": "sadp_dist.loading.random_crop",
    "SequentialShard": "sadp_dist.loading.sampler",
    "TorchLoader": "sadp_dist.loading.torch_loader",
    "weighted_mean": "sadp_dist.loading.mean_loss",
    "DistributedWeightedSampler": "sadp_dist.loading.weighted_sampler",
    "auto_augment": "sadp_dist.loading.autoaugment",
    "BetonArrays": "sadp_dist.loading.beton_arrays",
    "FFCVLoader": "sadp_dist.loading.ffcv_loader",
    "beton_classes": "sadp_dist.loading.beton",
    "beton_description": "sadp_dist.loading.beton",
    "beton_fields": "sadp_dist.loading.beton",
    "beton_fingerprints": "sadp_dist.loading.beton",
    "beton_holds_planes": "sadp_dist.loading.beton_arrays",
    "beton_image_sizes": "sadp_dist.loading.beton",
    "beton_pages": "sadp_dist.loading.beton",
    "beton_labels": "sadp_dist.loading.beton",
    "beton_shape": "sadp_dist.loading.beton_arrays",
    "beton_size": "sadp_dist.loading.beton",
    "write_arrays": "sadp_dist.loading.beton_arrays",
    "write_beton": "sadp_dist.loading.image_writer",
}

__all__ = [
    "BatchLoader",
    "BetonArrays",
    "DistributedWeightedSampler",
    "FFCVLoader",
    "PageOrder",
    "PruningSampler",
    "RandomCrop",
    "SequentialShard",
    "TorchLoader",
    "auto_augment",
    "beton_classes",
    "beton_description",
    "beton_fields",
    "beton_fingerprints",
    "beton_holds_planes",
    "beton_image_sizes",
    "beton_labels",
    "beton_pages",
    "beton_shape",
    "beton_size",
    "pad_crop_flip",
    "weighted_mean",
    "write_arrays",
    "write_beton",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
