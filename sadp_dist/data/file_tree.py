"""The files of a folder or a .zip: which are images or parquet, and what is passed over, with the reason."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sadp_dist.data.split_names import is_split

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Those of torchvision's ImageFolder."""

SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Folders that operating systems and storage servers make, some with small copies of the images."""

HIDDEN_FILE, HIDDEN_FOLDER = "hidden file", "hidden or system folder"
EMPTY, BROKEN_LINK, NO_FILE = "empty file", "broken link", "neither file nor folder"
UNREADABLE, READ_ALREADY = "unreadable folder", "link to a folder that is read already"


def unsupported(extension: str) -> str:
    """Return the reason for a file of this extension."""
    return f"unsupported file type ({extension or 'no extension'})"


@dataclass
class FileTree:
    """What a folder or an archive holds. Paths are relative to it, with forward slashes.

    Attributes:
        images: the names of the files with an extension of an image, in no order, by their folder; "" is the
            root.
        parquet: files that end in .parquet.
        folders: all folders that were looked into.
        left_out: (reason, path) of all other files, and of the folders that were not looked into.
    """

    images: dict[str, list[str]] = field(default_factory=dict)
    parquet: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def image_paths(self) -> list[str]:
        """Return the path of every image, sorted."""
        return sorted(_join(folder, name) for folder, names in self.images.items() for name in names)

    def add_file(self, folder: str, name: str, empty: bool) -> None:
        end = os.path.splitext(name)[1].lower()
        if end in EXTENSIONS and not empty and not name.startswith("."):
            self.images.setdefault(folder, []).append(name)
            return
        path = _join(folder, name)
        if name.startswith("."):
            self.left_out.append((HIDDEN_FILE, path))
        elif end not in EXTENSIONS and end != ".parquet":
            self.left_out.append((unsupported(end), path))
        elif empty:
            self.left_out.append((EMPTY, path))
        else:
            self.parquet.append(path)


def list_folder(root: Path) -> FileTree:
    """List a folder. Links are followed, and a folder is listed once, first where no link leads to it.

    A folder that is named like a split begins anew: "val" may be a link to "test".
    """
    tree = FileTree()
    _Walk(tree).visit_all(str(root), "", frozenset())
    return tree


def list_zip(entries: Iterable[zipfile.ZipInfo]) -> FileTree:
    """List an archive."""
    tree = FileTree()
    hidden_in: dict[str, str] = {"": ""}  # a folder: the hidden one that it is, or is in
    for path, entry in {entry.filename: entry for entry in entries}.items():
        folder, _, name = path.rpartition("/")
        if folder not in hidden_in:
            names = folder.split("/")
            for depth in range(1, len(names) + 1):
                inner, outer = "/".join(names[:depth]), "/".join(names[: depth - 1])
                hidden = inner if _is_hidden_folder(names[depth - 1]) else ""
                hidden_in.setdefault(inner, hidden_in[outer] or hidden)
        if name and not hidden_in[folder]:
            tree.add_file(folder, name, entry.file_size == 0)
    tree.folders = sorted(folder for folder, hidden in hidden_in.items() if folder and not hidden)
    tree.left_out += [(HIDDEN_FOLDER, folder) for folder in sorted({*hidden_in.values()} - {""})]
    return tree


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _is_hidden_folder(name: str) -> bool:
    return (name.startswith(".") and name != ".") or name in SYSTEM_FOLDERS


Identity = tuple[int, int]


class _Walk:
    def __init__(self, tree: FileTree) -> None:
        self._tree = tree

    def visit_all(self, folder: str, inside: str, above: frozenset[Identity]) -> None:
        """List a folder, and then the folders that links in it point to."""
        seen: set[Identity] = set()
        links: list[tuple[str, str, frozenset[Identity]]] = []
        self._visit(folder, inside, above, seen, links)
        for found in links:  # grows
            if is_split(found[1].rpartition("/")[2]):
                self.visit_all(*found)
            else:
                self._visit(*found, seen, links)

    def _visit(
        self,
        folder: str,
        inside: str,
        above: frozenset[Identity],
        seen: set[Identity],
        links: list[tuple[str, str, frozenset[Identity]]],
    ) -> None:
        try:
            status = os.stat(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            self._tree.left_out.append((UNREADABLE, inside))
            return
        identity = (status.st_dev, status.st_ino)
        if identity in above or identity in seen:
            self._tree.left_out.append((READ_ALREADY, inside))
            return
        seen.add(identity)
        above |= {identity}
        if inside:
            self._tree.folders.append(inside)
        for entry in entries:
            try:
                if entry.is_file():
                    self._tree.add_file(inside, entry.name, entry.stat().st_size == 0)
                elif not entry.is_dir():
                    reason = BROKEN_LINK if entry.is_symlink() else NO_FILE
                    self._tree.left_out.append((reason, _join(inside, entry.name)))
                elif _is_hidden_folder(entry.name):
                    self._tree.left_out.append((HIDDEN_FOLDER, _join(inside, entry.name)))
                elif entry.is_symlink():
                    links.append((entry.path, _join(inside, entry.name), above))
                elif is_split(entry.name):
                    self.visit_all(entry.path, _join(inside, entry.name), above)
                else:
                    self._visit(entry.path, _join(inside, entry.name), above, seen, links)
            except OSError:  # a link to itself, or a file that is being removed
                self._tree.left_out.append((BROKEN_LINK, _join(inside, entry.name)))
