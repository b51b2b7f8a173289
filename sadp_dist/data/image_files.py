"""Read labelled images from an ImageFolder folder, or from a .zip of one."""

from __future__ import annotations

import os
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sadp_dist.data.class_folders import ClassFolders
from sadp_dist.data.file_tree import EXTENSIONS, FileTree, list_zip, unsupported
from sadp_dist.data.image_source import ImageSource, LeftOut, by_reason, in_words
from sadp_dist.errors import UsageError

SAMPLE = 32
"""Files whose content is in the fingerprint of a folder."""

NO_CLASS, EMPTY_CLASS = "image in no class folder", "class folder without images"


class FilesOfImages(ImageSource):
    """Images that are files of a folder or an archive, which may have other files too.

    Attributes:
        folder: the folder of the class folders within the source, such as "train"; "" is the source itself.
    """

    def __init__(self, name: str, tree: FileTree, split: str | None) -> None:
        _refuse_nothing(tree, name, split)
        found = ClassFolders(tree.images, name, split)
        inside = f"{found.folder}/" if found.folder else ""
        class_of = {
            folder: folder[len(inside) :].split("/")[0]
            for folder in tree.images
            if folder.startswith(inside) and folder != found.folder
        }
        number = {name: k for k, name in enumerate(found.classes)}
        folders = sorted(class_of, key=lambda folder: (class_of[folder], folder))
        paths = [f"{folder}/{file}" for folder in folders for file in sorted(tree.images[folder])]
        labels = np.repeat(
            np.array([number[class_of[folder]] for folder in folders], dtype=np.int64),
            [len(tree.images[folder]) for folder in folders],
        )
        left_out = _left_out(tree, found)
        super().__init__(name, found.classes, labels, paths, left_out)
        self.folder = found.folder

    @abstractmethod
    def read(self, path: str) -> bytes | None:
        """Return the bytes of any file, or None if it does not exist."""

    def _in_folder(self, path: str) -> str:
        """Return the path as in a source that is the folder of the class folders itself."""
        return path.removeprefix(f"{self.folder}/") if self.folder else path


class FolderImages(FilesOfImages):
    """`root/<class>/**/<image>`, in the order of torchvision's ImageFolder."""

    kind = "folder"

    def __init__(self, root: Path, tree: FileTree, split: str | None) -> None:
        super().__init__(str(root), tree, split)
        self._root = root

    def encoded(self, index: int) -> bytes:
        try:
            return (self._root / self.paths[index]).read_bytes()
        except OSError as error:
            raise self._damaged(index, error.strerror or str(error)) from error

    def _marks(self) -> Iterator[bytes]:
        for index, path in enumerate(self.paths):
            try:
                size = os.stat(os.path.join(self._root, path)).st_size
            except OSError as error:
                raise self._damaged(index, error.strerror or str(error)) from error
            yield f"{self._in_folder(path)}\0{size}\n".encode(errors="surrogateescape")
        for index in np.linspace(0, len(self) - 1, min(len(self), SAMPLE)).astype(int):
            yield self.encoded(int(index))

    def read(self, path: str) -> bytes | None:
        file = self._root / path
        return file.read_bytes() if file.is_file() else None


class ZipImages(FilesOfImages):
    """The same layout inside a .zip. Every process opens the archive itself."""

    kind = "zip"

    def __init__(self, path: Path, split: str | None) -> None:
        self._path = path
        self._opened_by: int | None = None
        try:
            entries = self._archive().infolist()
        except (OSError, zipfile.BadZipFile) as error:
            raise UsageError(f"{path}: not a readable .zip ({error})") from error
        super().__init__(str(path), list_zip(entries), split)

    def encoded(self, index: int) -> bytes:
        try:
            return self._archive().read(self.paths[index])
        except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise self._damaged(index, str(error)) from error

    def _marks(self) -> Iterator[bytes]:
        for path in self.paths:
            entry = self._archive().getinfo(path)
            yield f"{self._in_folder(path)}\0{entry.file_size}\0{entry.CRC}\n".encode()

    def read(self, path: str) -> bytes | None:
        try:
            return self._archive().read(path)
        except KeyError:
            return None

    def _archive(self) -> zipfile.ZipFile:
        if self._opened_by != os.getpid():  # forked processes share a handle's file position
            self._handle = zipfile.ZipFile(self._path)
            self._opened_by = os.getpid()
        return self._handle

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_handle": None, "_opened_by": None}


def _refuse_nothing(tree: FileTree, name: str, split: str | None) -> None:
    """Refuse a source, or a split's folder, that has no images, and say what it has."""
    what = f"source {name!r}"
    if tree.images and split is not None:
        folders = [folder for folder in tree.folders if f"/{folder}".endswith(f"/{split.strip('/')}")]
        if not folders or any(_is_within(path, folder) for folder in folders for path in tree.images):
            return
        what = f"split {split!r} of {what}"
    elif tree.images:
        return
    found = in_words(by_reason(tree.left_out))
    raise UsageError(
        f"{what} has no images ({', '.join(EXTENSIONS)}){f'; left out: {found}' if found else ''}"
    )


def _left_out(tree: FileTree, found: ClassFolders) -> LeftOut:
    """Return what is passed over, except in the other splits."""
    others = [
        (NO_CLASS, f"{folder}/{file}".removeprefix("/"))
        for folder, files in tree.images.items()
        for file in files
        if _is_within(found.folder, folder)
    ]
    others += [(unsupported(".parquet"), path) for path in tree.parquet]
    with_images = set(found.names(found.folder))
    for folder in tree.folders:
        parent, _, name = folder.rpartition("/")
        if parent == found.folder and name not in with_images:
            others.append((EMPTY_CLASS, folder))
    return by_reason(
        (reason, path)
        for reason, path in [*tree.left_out, *others]
        if not _is_elsewhere(path.rpartition("/")[0], found)
    )


def _is_elsewhere(folder: str, found: ClassFolders) -> bool:
    """Whether a folder is of another split: beside those that lead to the class folders, with images."""
    if _is_within(folder, found.folder):
        return False
    names = folder.split("/")
    above = ("/".join(names[:depth]) for depth in range(1, len(names) + 1))
    beside = next((path for path in above if not _is_within(found.folder, path)), None)
    return beside is not None and found.has_images(beside)


def _is_within(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")
