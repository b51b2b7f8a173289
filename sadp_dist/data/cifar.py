"""Read CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) from their Python version: pickled batches of pixels."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sadp_dist.data.archive import Archive
from sadp_dist.data.examples import Examples
from sadp_dist.data.images import open_images
from sadp_dist.data.registry import SourceFile, register_dataset
from sadp_dist.errors import UsageError

SIDE = 32


class CifarImages:
    """Images (N, 32, 32, 3) uint8 in memory, with labels.

    Attributes:
        name, classes, labels: see :class:`~sadp_dist.data.examples.Examples`.
    """

    def __init__(
        self, name: str, classes: Sequence[str], labels: npt.NDArray[np.int64], pixels: npt.NDArray[np.uint8]
    ) -> None:
        self.name = name
        self.classes = list(classes)
        self.labels = labels
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self._pixels[index]), int(self.labels[index])


@register_dataset(
    "cifar10",
    kind="images",
    train=50_000,
    test=10_000,
    classes=10,
    shape=(3, 32, 32),
    source="download cifar-10-python.tar.gz from www.cs.toronto.edu/~kriz/cifar.html",
    files=(SourceFile("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
)
def open_cifar10(path: Path, split: str) -> Examples:
    """Open CIFAR-10: `cifar-10-python.tar.gz`, its unpacked folder, or images that `open_images` reads.

    Raises:
        UsageError: files are missing or damaged.
    """
    batches = [f"data_batch_{k}" for k in range(1, 6)] if split == "train" else ["test_batch"]
    return _open(path / "cifar-10-python.tar.gz", split, batches, ("batches.meta", "label_names"), "labels")


@register_dataset(
    "cifar100",
    kind="images",
    train=50_000,
    test=10_000,
    classes=100,
    shape=(3, 32, 32),
    source="download cifar-100-python.tar.gz from www.cs.toronto.edu/~kriz/cifar.html",
    files=(SourceFile("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),),
)
def open_cifar100(path: Path, split: str) -> Examples:
    """Open CIFAR-100 with its 100 fine labels; see :func:`open_cifar10`."""
    return _open(
        path / "cifar-100-python.tar.gz", split, [split], ("meta", "fine_label_names"), "fine_labels"
    )


def _open(packed: Path, split: str, batches: list[str], meta: tuple[str, str], key: str) -> Examples:
    path = packed if packed.is_file() else packed.parent
    if path.is_file() and not path.name.endswith((".tar.gz", ".tgz", ".tar")):
        return open_images(path, split)
    archive = Archive(path)
    if archive.find(meta[0]) is None:
        return open_images(path, split)
    classes = [_text(name) for name in _load(archive, meta[0], meta[1])[0]]
    pixels, labels = [], []
    for batch in batches:
        data, some = _load(archive, batch, "data", key)
        if data.dtype != np.uint8 or data.shape != (len(some), 3 * SIDE * SIDE):
            raise UsageError(f"{path}: {batch} has data of {data.dtype} {data.shape}; download it again")
        pixels.append(data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
        labels.append(np.asarray(some, dtype=np.int64))
    return CifarImages(str(path), classes, np.concatenate(labels), np.concatenate(pixels))


def _load(archive: Archive, name: str, *keys: str) -> list[Any]:
    """Return the values of these keys of a pickled dict."""
    file = archive.find(name)
    if file is None:
        raise UsageError(f"{archive.path}: has no file {name}; download it again")
    try:
        content = _ArraysOnly(io.BytesIO(archive.read(file)), encoding="latin1").load()
        return [content[key] for key in keys]
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, IndexError) as error:
        raise UsageError(f"{archive.path}: {name} cannot be read ({error}); download it again") from error


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


class _ArraysOnly(pickle.Unpickler):
    """Loads lists, strings and NumPy arrays only; other pickles could run any code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy.core", "numpy._core"), name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}
