"""From an epoch's shard to batches: samplers, loaders (FFCV and torch), .beton files, keyed augmentation.

FFCV and torchvision are imported at the first use of a name that needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sadp_dist.loading.augment import pad_crop_flip
from sadp_dist.loading.page_order import PageOrder
from sadp_dist.loading.sampler import PruningSampler, SequentialShard
from sadp_dist.loading.torch_loader import TorchLoader
from sadp_dist.loading.weighted_mean import weighted_mean

if TYPE_CHECKING:
    from sadp_dist.loading.autoaugment import auto_augment
    from sadp_dist.loading.beton import (
        beton_fields,
        beton_image_sizes,
        beton_labels,
        beton_pages,
        beton_size,
        write_beton,
    )
    from sadp_dist.loading.beton_arrays import BetonArrays, beton_shape, write_arrays
    from sadp_dist.loading.ffcv_loader import FFCVLoader

_LATER = {
    "auto_augment": "sadp_dist.loading.autoaugment",
    "BetonArrays": "sadp_dist.loading.beton_arrays",
    "FFCVLoader": "sadp_dist.loading.ffcv_loader",
    "beton_fields": "sadp_dist.loading.beton",
    "beton_image_sizes": "sadp_dist.loading.beton",
    "beton_pages": "sadp_dist.loading.beton",
    "beton_labels": "sadp_dist.loading.beton",
    "beton_shape": "sadp_dist.loading.beton_arrays",
    "beton_size": "sadp_dist.loading.beton",
    "write_arrays": "sadp_dist.loading.beton_arrays",
    "write_beton": "sadp_dist.loading.beton",
}

__all__ = [
    "BetonArrays",
    "FFCVLoader",
    "PageOrder",
    "PruningSampler",
    "SequentialShard",
    "TorchLoader",
    "auto_augment",
    "beton_fields",
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
