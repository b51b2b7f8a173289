"""Small files of the formats in which datasets are published."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np


class Python2Pickler(pickle._Pickler):
    """Writes strings as Python 2 did, which wrote CIFAR's batches."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_python2(self, value):
        data = value.encode() if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<I", len(data)) + data)
        self.memoize(value)

    dispatch[bytes] = save_python2
    dispatch[str] = save_python2


def python2_pickle(content: object) -> bytes:
    out = io.BytesIO()
    Python2Pickler(out, protocol=2).dump(content)
    return out.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def cifar_files(classes: int, per_batch: int = 4) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """The files of a CIFAR archive, and the pixels (n, 32, 32, 3) and labels of each batch."""
    folder = "cifar-10-batches-py" if classes == 10 else "cifar-100-python"
    names = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"] if classes == 10 else ["train", "test"]
    meta, key = ("batches.meta", "label_names") if classes == 10 else ("meta", "fine_label_names")
    draw = np.random.default_rng(classes)
    files = {f"{folder}/{meta}": python2_pickle({key: [f"class {k}" for k in range(classes)]})}
    expected = {}
    for name in names:
        pixels = draw.integers(0, 256, (per_batch, 32, 32, 3), dtype=np.uint8)
        labels = draw.integers(0, classes, per_batch)
        planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).reshape(per_batch, -1)
        batch = {"data": planes, "filenames": [f"{k}.png" for k in range(per_batch)]}
        if classes == 10:
            batch["labels"] = labels.tolist()
        else:
            batch |= {"fine_labels": labels.tolist(), "coarse_labels": (labels // 5).tolist()}
        files[f"{folder}/{name}"] = python2_pickle(batch)
        expected[name] = (pixels, labels)
    return files, expected
