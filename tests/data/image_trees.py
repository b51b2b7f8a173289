"""Trees of small images for tests: a dict of path and content, written as a folder or a .zip."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(number: int = 0, mode: str = "RGB", kind: str = "PNG") -> bytes:
    """A file of an image of 6 x 5 pixels that tells its number."""
    pixels = np.random.default_rng(number).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def write_tree(root: Path, files: Iterable[str] | Mapping[str, bytes | None]) -> Path:
    """Write files. Those without content are images, and a path that ends in a slash is an empty folder."""
    contents = files if isinstance(files, Mapping) else dict.fromkeys(files)
    for number, (path, content) in enumerate(contents.items()):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (root / path).mkdir(exist_ok=True)
        else:
            (root / path).write_bytes(encoded(number) if content is None else content)
    return root


def zip_tree(root: Path, path: Path) -> Path:
    """Pack a folder, with its empty folders."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root).as_posix())
    return path
