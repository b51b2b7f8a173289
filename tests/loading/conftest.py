"""Real images in every form that loading reads: scikit-learn's handwritten digits as PNG files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sadp_dist
from sadp_dist.loading import PruningSampler
from sadp_dist.store import Store

DIGITS = 500


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageFolder of 500 digits, 16 x 16 pixels."""
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    root = tmp_path_factory.mktemp("digits")
    data = load_digits()
    for i, (pixels, label) in enumerate(zip(data.images[:DIGITS], data.target[:DIGITS], strict=True)):
        folder = root / str(label)
        folder.mkdir(exist_ok=True)
        gray = Image.fromarray((pixels * 15.9).astype(np.uint8))
        gray.resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"{i:04d}.png")
    return root


@pytest.fixture(scope="session")
def digits_beton(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("ffcv")
    from sadp_dist.loading import write_beton

    path = tmp_path_factory.mktemp("beton") / "digits.beton"
    assert write_beton(digits, path) == DIGITS
    return path


@pytest.fixture(scope="session")
def real_images() -> Path:
    """The folder with cifar10.zip and imagenet-sample.zip."""
    folder = os.environ.get("SADP_DIST_DATA")
    if not folder:
        pytest.skip("SADP_DIST_DATA does not name a folder with cifar10.zip and imagenet-sample.zip")
    return Path(folder)


@pytest.fixture
def store() -> Iterator[Store]:
    """A run over the digits that keeps half of them, with a score for each."""
    pruning = sadp_dist.PruningConfig(ratio=0.5, epochs=10, min_probability=0.1, seed=3)
    store = sadp_dist.connect("memory:", run="digits", dataset_size=DIGITS, pruning=pruning)
    store.push(np.arange(DIGITS), np.linspace(0.1, 5.0, DIGITS, dtype=np.float32), epoch=0)
    yield store
    store.close()


@pytest.fixture
def sampler(store: Store) -> PruningSampler:
    return PruningSampler(store, batch_size=32, rank=0, world_size=1)
