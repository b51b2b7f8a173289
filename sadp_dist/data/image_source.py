"""The base class of every source of labelled images: a folder, an archive or parquet files."""

from __future__ import annotations

import copy
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt

from sadp_dist.data.class_folders import listed
from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

NO_IMAGES_HERE = "class without images in this split"
DAMAGED = "damaged image"

LeftOut = dict[str, list[str]]
"""A reason, and the paths within the source."""

Labels = npt.NDArray[np.int64]


def by_reason(left_out: Iterable[tuple[str, str]]) -> LeftOut:
    """Return the paths of (reason, path), sorted, by reason."""
    found: LeftOut = {}
    for reason, path in sorted(left_out):
        found.setdefault(reason, []).append(path)
    return found


def in_words(left_out: Mapping[str, Sequence[str]]) -> str:
    """Return the most frequent reasons with their numbers, such as "2 x empty file"; "" if there are none."""
    counts = sorted(((len(paths), reason) for reason, paths in left_out.items()), key=lambda pair: -pair[0])
    return listed([f"{count:,} x {reason}" for count, reason in counts if count], most=5)


class DamagedImage(UsageError):
    """An image cannot be read. The message names it and its source.

    Attributes:
        reason: why, in one line.
    """

    reason = ""


class ImageSource(ABC):
    """A map-style dataset of labelled images.

    Attributes:
        kind: "folder", "zip" or "parquet".
        name: the source of the images, for messages.
        classes: the class names of all splits of the source; label k is `classes[k]` in every split.
        labels: int64 (N,).
        paths: the name of every image within the source, (N,).
        left_out: what is not read: the reason, such as "empty file", and the paths within the source. Names
            of classes without images are under "class without images in this split".
        channels: 1, 3 or 4: images are grey ("L"), "RGB" or "RGBA".
    """

    kind: ClassVar[str]

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        labels: Labels,
        paths: Sequence[str],
        left_out: LeftOut | None = None,
    ) -> None:
        self.name = name
        self.classes = list(classes)
        self.labels = labels
        self.paths = paths
        self.left_out = dict(left_out or {})
        self.channels = 3
        self._list_classes_without_images()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Return the image and its label. A damaged file raises a `UsageError` that names it."""
        return self._decoded(index), int(self.labels[index])

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """Return the bytes of the image file as stored."""

    def fingerprint(self) -> str:
        """Return 32 hexadecimal digits that tell this data from other data.

        The same data has the same fingerprint at another path. It covers the class names, all labels and:

        - folder: the name and size of every image file, and the content of up to 32 of them;
        - .zip: the name, size and CRC-32 of every image file;
        - parquet: the size of the image column in every row group, and the first 4 KiB of it.

        It decodes no image. It does not see a change that keeps all of these, such as other pixels in a file
        of the same size in a folder. The same images have another fingerprint in another kind of source.
        """
        digest = hashlib.blake2b(digest_size=16)
        digest.update(json.dumps([self.kind, self.classes]).encode())
        digest.update(self.labels.astype("<i8").tobytes())
        for mark in self._marks():
            digest.update(mark)
        return digest.hexdigest()

    @abstractmethod
    def _marks(self) -> Iterator[bytes]:
        """Yield bytes that differ where the images do."""

    def numbered(self, classes: Sequence[str]) -> Self:
        """Return this source with the label numbers of `classes`, such as those of a training set.

        Raises:
            UsageError: a name occurs twice, or the source has images of a class that is not among them.
        """
        number = {name: k for k, name in enumerate(classes)}
        if len(number) != len(classes):
            twice = sorted({name for name in classes if list(classes).count(name) > 1})
            raise UsageError(f"classes: {', '.join(twice)} occurs twice; every class needs its own name")
        present, inverse = np.unique(self.labels, return_inverse=True)
        names = [self.classes[k] for k in present]
        unknown = [name for name in names if name not in number]
        if unknown:
            raise UsageError(
                f"source {self.name!r} has images of {listed(unknown)}, not among the given classes "
                f"({listed(classes)}); leave these images out, or give all classes"
            )
        renumbered = copy.copy(self)
        renumbered.classes = list(classes)
        renumbered.labels = np.array([number[name] for name in names], dtype=np.int64)[inverse]
        renumbered._list_classes_without_images()
        return renumbered

    def without(self, indices: Iterable[int], reason: str = DAMAGED) -> Self:
        """Return this source without some images. `left_out` has their paths under the reason."""
        drop = sorted(set(indices))
        kept = copy.copy(self)
        kept._keep(np.delete(np.arange(len(self)), np.array(drop, dtype=np.int64)))
        listed = [*self.left_out.get(reason, ()), *(self.paths[i] for i in drop)]
        kept.left_out = {**self.left_out, **({reason: listed} if drop else {})}
        kept._list_classes_without_images()
        return kept

    def _keep(self, indices: npt.NDArray[np.int64]) -> None:
        self.labels = self.labels[indices]
        self.paths = [self.paths[i] for i in indices.tolist()]

    def _list_classes_without_images(self) -> None:
        present = np.bincount(self.labels, minlength=len(self.classes)) > 0
        empty = [name for name, some in zip(self.classes, present, strict=True) if not some]
        self.left_out = {key: paths for key, paths in self.left_out.items() if key != NO_IMAGES_HERE}
        if empty:
            self.left_out[NO_IMAGES_HERE] = empty

    def damage(self, index: int) -> str | None:
        """Return why an image cannot be read, or None if it can."""
        try:
            self._decoded(index)
        except DamagedImage as error:
            return error.reason
        return None

    def _decoded(self, index: int) -> Image.Image:
        from sadp_dist.data.pixels import Unreadable, decode  # a configuration is checked without Pillow

        encoded = self.encoded(index)
        try:
            return decode(encoded, self.channels)
        except Unreadable as error:
            raise self._damaged(index, str(error)) from error

    def _damaged(self, index: int, reason: str) -> DamagedImage:
        """Return the error of an image that cannot be read."""
        error = DamagedImage(
            f"{self.name}: image {self.paths[index]} cannot be read ({reason}); replace or remove it"
        )
        error.reason = reason
        return error
