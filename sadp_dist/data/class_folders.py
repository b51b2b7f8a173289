"""Find the folder whose sub-folders are the classes, among the folders that hold images.

A source is that folder, holds it as an unpacked archive does (`pets/<class>/<image>`), or holds one for each
split (`train/<class>/<image>`). Folders of splits are never taken for classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sadp_dist.data.split_names import UnknownSplit, is_split
from sadp_dist.errors import UsageError


class ClassFolders:
    """The classes of a split.

    Args:
        folders: the folders that have images directly in them, relative to the source, with forward slashes;
            "" is the source itself.
        name: the source, for messages.
        split: the split's folder, such as "train", or None. "." takes the folders of the source for classes,
            whatever they look like, as ImageFolder does; "train/." does so for a split.

    Attributes:
        folder: the folder of the class folders, relative to the source; "" is the source itself.
        classes: the class names of all splits, sorted.

    Raises:
        UsageError: the folders are not those of classes, or hold several splits and none is chosen.
    """

    def __init__(self, folders: Iterable[str], name: str, split: str | None) -> None:
        self._name = name
        self._images = set(folders)
        self._inside: dict[str, set[str]] = defaultdict(set)
        for folder in self._images:
            while folder:
                folder, _, child = folder.rpartition("/")
                self._inside[folder].add(child)
        exact = split is not None and f"/{split}".endswith("/.")
        if split is not None and exact:
            split = split[:-1].strip("/") or None
        self._top = "" if exact else self._through_single_folders("")
        chosen = None if exact and split is None else self._chosen(split)
        self.folder = self._top if chosen is None else self._without_repetition(chosen)
        own = self.names(self.folder)
        if not own:
            wanted = _join(self.folder, "<class>/<image>")
            raise UsageError(f"source {name!r} has images, but no class folders; expected {wanted}")
        elsewhere = self._classes_elsewhere(chosen, set(own)) if chosen is not None else set()
        if not exact:
            self._refuse_splits()
            if len(elsewhere) < 2 or own[0] not in elsewhere:
                self._refuse_one_folder()
        self.classes = sorted(elsewhere.union(own))

    def names(self, folder: str) -> list[str]:
        """Return the names of the sub-folders that hold images, at any depth."""
        return sorted(self._inside.get(folder, ()))

    def has_images(self, folder: str) -> bool:
        """Whether a folder holds images, at any depth."""
        return folder in self._images or folder in self._inside

    def _chosen(self, split: str | None) -> str | None:
        """Return the folder of the split, or None if the source has no splits."""
        names, splits = self.names(self._top), self._splits(self._top)
        if split is not None:
            wanted = _join(self._top, split.strip("/"))
            if not self.has_images(wanted):
                has = ", ".join(names) or "no sub-folder"
                raise UnknownSplit(f"split {split!r} is not in {self._name!r}; it has: {has}")
            return wanted
        if not splits:
            self._refuse_same_folders(names)
            return None
        if names == splits and len(names) == 1:
            return _join(self._top, splits[0])
        others = [name for name in names if name not in splits]
        beside = f" beside the folders {listed(others)}" if others else ""
        what = "splits" if len(splits) > 1 else "split"
        raise UsageError(
            f"source {self._name!r} has the {what} {', '.join(splits)}{beside}; choose one with split="
        )

    def _splits(self, folder: str) -> list[str]:
        """Return the sub-folders that are splits. A class may be called "train" if its images are in it."""
        names = self.names(folder)
        named = [name for name in names if is_split(name) or self._repeats(folder, name)]
        if len(named) > 1 or named == names:
            return named
        return [name for name in named if _join(folder, name) not in self._images]

    def _repeats(self, folder: str, name: str) -> bool:
        """Whether one sub-folder of several holds itself, and folders in that: `part1/part1/<class>`."""
        path = _join(folder, name)
        inner = self._without_repetition(path)
        return len(self.names(folder)) > 1 and inner != path and bool(self.names(inner))

    def _refuse_same_folders(self, names: list[str]) -> None:
        """Refuse folders that hold nothing but the same folders: those may be the classes."""
        inside = [set(self.names(_join(self._top, name))) for name in names]
        common = sorted(set.intersection(*inside)) if inside else []
        if (
            len(names) > 1
            and len(common) > 1
            and not any(_join(self._top, name) in self._images for name in names)
        ):
            raise UsageError(
                f"source {self._name!r} has the folders {listed(names)}, each with {listed(common)} inside; "
                f"if they are splits, choose one, such as split={names[0]!r}; if they are classes, choose "
                f"split={_join(self._top, '.')!r}"
            )

    def _through_single_folders(self, folder: str) -> str:
        """Return the first folder inside, alone on its level, that has several sub-folders or a split."""
        inner = folder
        while len(names := self.names(inner)) == 1 and not self._splits(inner):
            inner = _join(inner, names[0])
            if inner in self._images:
                return folder
        return inner

    def _without_repetition(self, split: str) -> str:
        """Return the split's folder, or the one inside that repeats it, as in `train/train/<class>`."""
        folder, name = split, split.rpartition("/")[2]
        while [only.lower() for only in self.names(folder)] == [name.lower()]:
            folder = _join(folder, self.names(folder)[0])
        return folder

    def _classes_elsewhere(self, chosen: str, own: set[str]) -> set[str]:
        """Return the classes of the other splits.

        If the chosen folder has the name of a split, its siblings with such names are the other splits.
        Otherwise all its siblings are.
        """
        parent, _, name = chosen.rpartition("/")
        classes: set[str] = set()
        for other in self.names(parent):
            folder = self._without_repetition(_join(parent, other))
            names = self.names(folder)
            is_other_split = other != name and (is_split(other) or not is_split(name))
            if not is_other_split or self._splits(folder):
                continue
            if len(names) > 1 or own.issuperset(names):  # one folder of another name has unlabelled images
                classes.update(names)
        return classes

    def _refuse_splits(self) -> None:
        splits = self._splits(self.folder)
        if splits:
            raise UsageError(
                f"source {self._name!r} has the splits {', '.join(splits)} in {self.folder}; "
                f"choose one, such as split={self._as_split(_join(self.folder, splits[0]))!r}"
            )
        for name in self.names(self.folder):
            folder = _join(self.folder, name)
            inside = [split for split in self.names(folder) if is_split(split)]
            if len(inside) > 1:
                raise UsageError(
                    f"source {self._name!r} has the splits {', '.join(inside)} in {folder}; "
                    f"sort them as {inside[0]}/{name}/<image>, or choose "
                    f"split={_join(self.folder, '.')!r} to read all as one"
                )

    def _refuse_one_folder(self) -> None:
        names = self.names(self.folder)
        inside = self.names(self._through_single_folders(_join(self.folder, names[0])))
        if len(names) == 1 and len(inside) > 1:
            folder = _join(self.folder, names[0])
            raise UsageError(
                f"source {self._name!r} has one class, {folder}, with the folders {listed(inside)} inside; "
                f"if these are the classes, choose split={self._as_split(folder)!r}, otherwise "
                f"split={_join(self.folder, '.')!r}"
            )

    def _as_split(self, folder: str) -> str:
        return folder.removeprefix(f"{self._top}/") if self._top else folder


def listed(names: Sequence[str], most: int = 10) -> str:
    """Return the first names, and the number of the others."""
    first = ", ".join(names[:most])
    return first if len(names) <= most else f"{first} and {len(names) - most:,} more"


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
