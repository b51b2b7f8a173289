"""Read labelled images from an ImageFolder folder, or from a .zip of one."""

from __future__ import annotations

import os
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from sadp_dist.data.image_source import SPLITS, ImageSource, Labels
from sadp_dist.errors import UsageError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class FilesOfImages(ImageSource):
    """Images that are files of a folder or an archive, which may have other files too."""

    @abstractmethod
    def read(self, path: str) -> bytes | None:
        """Return the bytes of any file, or None if it does not exist."""


class FolderImages(FilesOfImages):
    """`root/<class>/**/<image>`, in the order of torchvision's ImageFolder."""

    def __init__(self, root: Path, split: str | None) -> None:
        files = (
            Path(folder, file).relative_to(root).as_posix()
            for folder, _, names in os.walk(root, followlinks=True)
            for file in names
        )
        classes, labels, paths = _labelled(files, str(root), split)
        super().__init__(str(root), classes, labels, paths)
        self._root = root

    def encoded(self, index: int) -> bytes:
        try:
            return (self._root / self.paths[index]).read_bytes()
        except OSError as error:
            raise self._damaged(index, error) from error

    def read(self, path: str) -> bytes | None:
        file = self._root / path
        return file.read_bytes() if file.is_file() else None


class ZipImages(FilesOfImages):
    """The same layout inside a .zip. Every process opens the archive itself."""

    def __init__(self, path: Path, split: str | None) -> None:
        self._path = path
        self._opened_by: int | None = None
        try:
            files = self._archive().namelist()
        except (OSError, zipfile.BadZipFile) as error:
            raise UsageError(f"{path}: not a readable .zip ({error})") from error
        classes, labels, paths = _labelled(files, str(path), split)
        super().__init__(str(path), classes, labels, paths)

    def encoded(self, index: int) -> bytes:
        try:
            return self._archive().read(self.paths[index])
        except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise self._damaged(index, error) from error

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


def _labelled(files: Iterable[str], name: str, split: str | None) -> tuple[list[str], Labels, list[str]]:
    """Return classes, labels and paths of the images among `files` (relative, with forward slashes)."""
    images = [file for file in files if file.lower().endswith(EXTENSIONS) and not _hidden(file)]
    if not images:
        raise UsageError(f"source {name!r} has no images ({', '.join(EXTENSIONS)})")
    root = _split_folder(images, name, split)
    in_split = [file for file in images if file.startswith(root)]
    by_class = {file: file[len(root) :].split("/")[0] for file in in_split if "/" in file[len(root) :]}
    if not by_class:
        raise UsageError(f"source {name!r} has images, but no class folders; expected {root}<class>/<image>")
    # A split may lack a class. Labels have to mean the same class in every split.
    elsewhere = {top for split in _splits(images, root) for top in _sub_folders(images, split)}
    classes = sorted(elsewhere | set(by_class.values()))
    label = {name: k for k, name in enumerate(classes)}
    paths = sorted(by_class, key=lambda file: (by_class[file], *os.path.split(file)))
    return classes, np.array([label[by_class[file]] for file in paths], dtype=np.int64), paths


def _split_folder(images: list[str], name: str, split: str | None) -> str:
    """Return the folder of the class folders, "" or ending in a slash."""
    root = ""
    tops = _sub_folders(images, root)
    if len(tops) == 1 and not _is_split(tops[0]) and _sub_folders(images, tops[0] + "/"):
        root = tops[0] + "/"  # an archive of one folder
        tops = _sub_folders(images, root)
    if split is not None:
        wanted = f"{root}{split.strip('/')}/"
        if not any(file.startswith(wanted) for file in images):
            raise UsageError(
                f"split {split!r} is not in {name!r}; it has: {', '.join(tops) or 'no sub-folder'}"
            )
        return wanted
    if tops and all(_is_split(top) and _sub_folders(images, f"{root}{top}/") for top in tops):
        if len(tops) > 1:
            raise UsageError(f"source {name!r} has the splits {', '.join(tops)}; choose one with split=")
        return f"{root}{tops[0]}/"
    return root


def _splits(images: list[str], root: str) -> list[str]:
    """Return the folders of all splits, given the folder of one.

    If that folder has the name of a split, its siblings with such names are the other splits. Otherwise all
    its siblings are.
    """
    parent, _, chosen = root.removesuffix("/").rpartition("/")
    parent += "/" if parent else ""
    beside = [top for top in _sub_folders(images, parent) if _is_split(top) or not _is_split(chosen)]
    return [f"{parent}{top}/" for top in beside] if chosen else []


def _sub_folders(images: list[str], root: str) -> list[str]:
    tails = (file[len(root) :] for file in images if file.startswith(root))
    return sorted({tail.split("/")[0] for tail in tails if "/" in tail})


def _is_split(folder: str) -> bool:
    return folder.lower() in SPLITS


def _hidden(file: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(file).parts)
