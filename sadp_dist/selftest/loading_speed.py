"""Images per second from each loader to the device, and what training waits for between two epochs."""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

import numpy as np
import torch

from sadp_dist.loading import PruningSampler, TorchLoader
from sadp_dist.selftest.images import CLASSES, Labelled, MemoryBatches, generated
from sadp_dist.selftest.loaders import Pictures, need_ffcv, new_store
from sadp_dist.selftest.part import COST, Figures
from sadp_dist.selftest.setting import Setting
from sadp_dist.training.random_data import RandomBatches

SIDE, BATCH = 32, 256
WORKERS = 8


def _images(setting: Setting) -> Labelled:
    return generated(setting.sizes.loaded, SIDE, seed=0)


def _speed(setting: Setting, loader: Any, sampler: PruningSampler) -> Figures:
    """Return the images per second of the second epoch, until all are on the device."""
    seconds = 0.0
    for epoch in (1, 2):
        sampler.set_epoch(epoch)
        started = time.perf_counter()
        read = sum(len(images) for images, *_ in loader)
        _wait(setting)
        seconds = time.perf_counter() - started
    return {"images/s": read / seconds}


def _wait(setting: Setting) -> None:
    if setting.on_gpu:
        torch.cuda.synchronize()


def _workers() -> int:
    return min(WORKERS, len(os.sched_getaffinity(0)))


@COST.check("speed of FFCV's loader, raw images of 32 x 32")
def ffcv_speed(setting: Setting) -> Figures:
    need_ffcv()
    from sadp_dist.loading import FFCVLoader, write_beton

    beton = setting.folder / "images.beton"
    write_beton(Pictures(_images(setting)), beton, image_format="raw")
    with new_store(setting.sizes.loaded) as store:
        sampler = PruningSampler(store, BATCH)
        loader = FFCVLoader(beton, sampler, num_workers=_workers(), device=setting.device)
        return {**_speed(setting, loader, sampler), "threads": _workers()}


@COST.check("speed of torch's loader, images of 32 x 32")
def torch_speed(setting: Setting) -> Figures:
    with new_store(setting.sizes.loaded) as store:
        sampler = PruningSampler(store, BATCH)
        pictures = Pictures(_images(setting))
        loader = TorchLoader(pictures, sampler, num_workers=_workers(), device=setting.device)
        return {**_speed(setting, loader, sampler), "processes": _workers()}


@COST.check("speed of images in the device's memory, 32 x 32")
def memory_speed(setting: Setting) -> Figures:
    with new_store(setting.sizes.loaded) as store:
        sampler = PruningSampler(store, BATCH)
        images, labels = (torch.from_numpy(array).to(setting.device) for array in _images(setting))
        return _speed(setting, MemoryBatches(sampler, images, labels), sampler)


@COST.check("time between two epochs that training waits")
def boundary(setting: Setting) -> Figures:
    """From the push of the last scores on the device to the first batch of the next epoch."""
    size, epochs = setting.sizes.dataset, 6
    labels = torch.from_numpy(np.random.default_rng(0).integers(CLASSES, size=size)).to(setting.device)
    scores = torch.rand(size, device=setting.device) + 0.1
    planned, first = [], []
    with new_store(size) as store:
        sampler = PruningSampler(store, BATCH)
        loader = RandomBatches(sampler, (3, SIDE, SIDE), labels)
        for epoch in range(1, epochs):
            _wait(setting)
            started = time.perf_counter()
            store.push(torch.arange(size - BATCH, size), scores[-BATCH:], epoch=epoch - 1)
            sampler.set_epoch(epoch)
            planned.append(time.perf_counter() - started)
            loader.begin()
            next(iter(loader))
            _wait(setting)
            first.append(time.perf_counter() - started)
    return {
        "examples": size,
        "plan and shard, ms": 1e3 * statistics.median(planned),
        "until the first batch, ms": 1e3 * statistics.median(first),
    }
