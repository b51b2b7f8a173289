"""Loaders to the device: every batch has the images, labels, indices and weights that the plan says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from sadp_dist.loading import PruningSampler, TorchLoader
from sadp_dist.selection import PruningConfig
from sadp_dist.selftest.images import Labelled, generated
from sadp_dist.selftest.part import CORRECTNESS, Figures, Skipped
from sadp_dist.selftest.setting import Setting
from sadp_dist.store import Store, connect

BATCH = 32


def new_store(size: int, epochs: int = 10) -> Store:
    """Return a store whose scores differ, for plans at r = 0.5."""
    store = connect("memory:", "loaders", size, PruningConfig(ratio=0.5, epochs=epochs))
    store.push(np.arange(size), np.random.default_rng(0).lognormal(size=size), epoch=0)
    return store


class Pictures:
    """Labelled images as a map-style dataset of PIL images."""

    def __init__(self, labelled: Labelled) -> None:
        self._images, self._labels = labelled

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self._images[index].transpose(1, 2, 0)), int(self._labels[index])


def _as_planned(setting: Setting, loader_of: Callable[[PruningSampler, Labelled], Any]) -> Figures:
    """Read two epochs, keep all batches, and compare them with the source when all are there."""
    labelled = generated(setting.sizes.examples, setting.sizes.side, seed=0)
    size, examples = len(labelled[1]), 0
    with new_store(size) as store:
        sampler = PruningSampler(store, BATCH)
        loader = loader_of(sampler, labelled)
        for epoch in (1, 2):
            sampler.set_epoch(epoch)
            planned = sampler.indices.copy(), sampler.position_weights
            batches = list(loader)
            for images, labels, _, weights in batches:
                assert images.device == labels.device == weights.device == setting.device
            images, labels, indices, weights = (
                torch.cat(parts).cpu().numpy() for parts in zip(*batches, strict=True)
            )
            assert (indices == planned[0]).all() and (weights == planned[1]).all(), "another plan was read"
            assert (labels == labelled[1][indices]).all(), "labels differ"
            assert (images == labelled[0][indices]).all(), "images differ"
            examples += len(indices)
    return {"examples read": examples}


@CORRECTNESS.check("torch's loader to the device")
def torch_loader(setting: Setting) -> Figures:
    def loader(sampler: PruningSampler, labelled: Labelled) -> TorchLoader:
        return TorchLoader(Pictures(labelled), sampler, num_workers=1, device=setting.device)

    return _as_planned(setting, loader)


@CORRECTNESS.check("FFCV's loader to the device")
def ffcv_loader(setting: Setting) -> Figures:
    """Read a file of images, then one of arrays."""
    need_ffcv()

    def images(sampler: PruningSampler, labelled: Labelled) -> Any:
        from sadp_dist.loading import FFCVLoader, write_beton

        beton = setting.folder / "images.beton"
        write_beton(Pictures(labelled), beton, image_format="raw", workers=1)
        return FFCVLoader(beton, sampler, device=setting.device)

    def arrays(sampler: PruningSampler, labelled: Labelled) -> Any:
        from sadp_dist.loading import FFCVLoader, write_arrays

        beton = setting.folder / "arrays.beton"
        write_arrays(list(zip(*labelled, strict=True)), beton, workers=1)
        return FFCVLoader(beton, sampler, device=setting.device)

    return {
        "images read": _as_planned(setting, images)["examples read"],
        "arrays read": _as_planned(setting, arrays)["examples read"],
    }


def need_ffcv() -> None:
    """Skip the check that calls this if FFCV cannot be imported.

    Raises:
        Skipped: it cannot.
    """
    try:
        import sadp_dist.loading.ffcv_loader  # noqa: F401
    except ImportError as error:
        raise Skipped(str(error)) from None
