"""FFCV is the same for others in a process that uses the loaders here."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("ffcv")

PREPARE = """
import importlib, pkgutil, sys
import numpy as np, torch

def everything():
    import ffcv
    found = {}
    for module in pkgutil.walk_packages(ffcv.__path__, "ffcv."):
        if "benchmarks" in module.name:  # a command
            continue
        importlib.import_module(module.name)
    for name, module in sorted(sys.modules.items()):
        if name == "ffcv" or name.startswith("ffcv."):
            for key, value in vars(module).items():
                if key == "__builtins__":
                    continue
                found[name, key] = value
                if isinstance(value, type) and value.__module__.startswith("ffcv"):
                    found.update({(name, key, attribute): it for attribute, it in vars(value).items()})
    # FFCV counts the nodes of every loader's graph.
    return {key: value for key, value in found.items() if key[-1] not in ("last_node_id",)}

def plain(path):
    from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import ToTensor
    return Loader(path, 32, num_workers=2, order=OrderOption.SEQUENTIAL, drop_last=False, pipelines={
        "image": [SimpleRGBImageDecoder(), ToTensor()],
        "label": [IntDecoder(), ToTensor()],
        "index": [IntDecoder(), ToTensor()],
    })

def read_plain(loader):
    batches = [(image.clone(), index.clone()) for image, label, index in loader]
    images, index = (torch.cat(parts) for parts in zip(*batches))
    assert index.flatten().tolist() == list(range(500))
    return images.permute(0, 3, 1, 2)

def ours(path, os_cache=True):
    import sadp_dist
    from sadp_dist.loading import FFCVLoader, PruningSampler
    pruning = sadp_dist.PruningConfig(ratio=0.5, epochs=10, min_probability=0.1, seed=3)
    store = sadp_dist.connect("memory:", run="digits", dataset_size=500, pruning=pruning)
    store.push(np.arange(500), np.linspace(0.1, 5.0, 500, dtype=np.float32), epoch=0)
    sampler = PruningSampler(store, batch_size=32, rank=0, world_size=1)
    sampler.set_epoch(1)
    return FFCVLoader(path, sampler, num_workers=2, os_cache=os_cache)

def read_ours(loader):
    images, _, index, _ = (torch.cat(parts) for parts in zip(*loader))
    return images, index
"""


def run(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + program, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_importing_and_using_our_loader_changes_no_attribute_of_ffcv_whose_loader_works_after_it(
    digits_beton,
):
    run(
        """
before = everything()
import sadp_dist.loading, sadp_dist.loading.ffcv_loader, sadp_dist.loading.beton_arrays
for os_cache in (True, False):
    images, index = read_ours(ours(sys.argv[1], os_cache))
after = everything()
assert before.keys() == after.keys()
assert [key for key in before if before[key] is not after[key]] == []
assert len(before) > 1000
assert torch.equal(images, read_plain(plain(sys.argv[1]))[index])
""",
        str(digits_beton),
    )


def test_ffcvs_loader_and_ours_work_before_and_after_each_other(digits_beton):
    run(
        """
first = plain(sys.argv[1])
expected = read_plain(first)
loader = ours(sys.argv[1])
images, index = read_ours(loader)
assert 200 < len(index) < 300 and torch.equal(images, expected[index])
for again in (first, plain(sys.argv[1])):
    assert torch.equal(read_plain(again), expected)
    assert type(again.memory_manager).__module__ == "ffcv.memory_managers.os_cache"
for os_cache in (True, False):
    images, index = read_ours(ours(sys.argv[1], os_cache))
    assert torch.equal(images, expected[index])
""",
        str(digits_beton),
    )
