"""Assign the files of a source to the splits "train", "val" and "test"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from sadp_dist.data.archive import Archive
from sadp_dist.errors import UsageError

FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Folders that are taken for a split, in any case."""


def split_of_each(
    archive: Archive, names: Sequence[str], descriptions: Mapping[str, str | None], wanted: str
) -> dict[str, str]:
    """Return the split of each file that is in one.

    Args:
        archive: the source.
        names: the files of the source that are examples.
        descriptions: for each split a folder, a pattern or a list, see `WavConfig`; None: the files of no
            other split for "train", else for "test". If all are None, the folders `train`, `val` and `test`
            are the splits.
        wanted: the split that must be among them.

    Raises:
        UsageError: `wanted` has no files or is not described, a description matches nothing, or a file is in
            two splits.
    """
    described = {split: text for split, text in descriptions.items() if text is not None}
    found = _by_description(archive, names, described) if described else _by_folder(names)
    rest = next((split for split in ("train", "test") if split not in described), None)
    if described and rest is not None:
        found = {name: found.get(name, rest) for name in names}
    if wanted not in found.values():
        there = ", ".join(f'"{split}"' for split in descriptions if split in found.values())
        raise UsageError(
            f"{archive.path} has no files of the split {wanted!r}; "
            + (f"it has {there}; " if there else "")
            + f"set {wanted}_files to a folder, a pattern ('*' for all) or a list of its files, or sort them "
            "into folders train/ and test/"
        )
    return found


def _by_folder(names: Sequence[str]) -> dict[str, str]:
    """Return the split of each file, from the outermost folder with the name of one."""
    found = {}
    for name in names:
        folders = (FOLDERS.get(part.lower()) for part in name.split("/")[:-1])
        split = next((split for split in folders if split is not None), None)
        if split is not None:
            found[name] = split
    return found


def _by_description(archive: Archive, names: Sequence[str], described: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for split, text in described.items():
        for name in _matches(archive, names, split, text):
            if name in found:
                raise UsageError(
                    f"{archive.path}: {name} is in the splits {found[name]!r} and {split!r}; change "
                    f"{found[name]}_files or {split}_files"
                )
            found[name] = split
    return found


def _matches(archive: Archive, names: Sequence[str], split: str, text: str) -> list[str]:
    """Return the files that a folder, a list or a pattern means."""
    folder = f"/{text.strip('/')}/"
    matches = [name for name in names if folder in f"/{name}"]
    if matches:
        return matches
    listed = archive.find(text)
    if listed is not None:
        return _in_list(
            archive, names, f"{split}_files={text!r}", archive.read(listed).decode(errors="replace")
        )
    if Path(text).expanduser().is_file():
        lines = Path(text).expanduser().read_text(encoding="utf-8", errors="replace")
        return _in_list(archive, names, f"{split}_files={text!r}", lines)
    matches = [name for name in names if PurePosixPath(name).match(text)]
    if not matches:
        raise UsageError(
            f"{split}_files={text!r} is neither a folder, a list nor a pattern of files in {archive.path}, "
            f"such as {names[0]}"
        )
    return matches


def _in_list(archive: Archive, names: Sequence[str], what: str, lines: str) -> list[str]:
    """Return the listed files. A line is the end of a path: as much of it as tells the file."""
    wanted = [line.strip().removeprefix("./") for line in lines.splitlines() if line.strip()]
    depths = {line.count("/") for line in wanted}
    by_end: dict[str, list[str]] = {}
    for name in names:
        parts = name.split("/")
        for depth in depths:
            if depth < len(parts):
                by_end.setdefault("/".join(parts[-depth - 1 :]), []).append(name)
    missing = [line for line in wanted if line not in by_end]
    if missing:
        raise UsageError(
            f"{what}: {len(missing):,} of its {len(wanted):,} files are not in {archive.path}, such as "
            f"{missing[0]!r}; each line must be the path of a file"
        )
    several = next((line for line in wanted if len(by_end[line]) > 1), None)
    if several is not None:
        raise UsageError(
            f"{what}: {several!r} could be {' or '.join(by_end[several][:2])}; write more of the path"
        )
    return list(dict.fromkeys(by_end[line][0] for line in wanted))
