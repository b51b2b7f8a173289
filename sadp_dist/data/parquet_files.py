"""Find the parquet files of a split, as Hugging Face and others lay them out.

| path | split |
| --- | --- |
| `train-00000-of-00002.parquet`, `data/train-0.parquet`, `train.parquet` | train |
| `plain_text/train/0000.parquet`, `train/part-0.parquet` | train |
| `fold1-00000-of-00001.parquet` | fold1 |
| `0000.parquet`, `images.parquet` | none |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sadp_dist.data.class_folders import listed
from sadp_dist.data.split_names import UnknownSplit, is_split
from sadp_dist.errors import UsageError

SHARD = re.compile(r"-(\d+)-of-(\d+)(-[0-9a-f]+)?\.parquet$")


def split_files(path: Path, files: Sequence[str], split: str | None) -> tuple[list[Path], list[Path]]:
    """Return the files of a split, in order, and those of the other splits.

    Args:
        path: a .parquet file, or the folder of the files.
        files: the files, relative to the folder.
        split: the split, or None if the source has only one.

    Raises:
        UsageError: the split is missing or unknown, or shards of it are missing.
    """
    if path.is_file():
        own = _split_of(f"{path.absolute().parent.name}/{path.name}")
        if split is not None and own != split:
            has = f"it has: {own}" if is_split(own) else "one file has no splits; leave it out"
            raise UnknownSplit(f"split {split!r} is not in {str(path)!r}; {has}")
        return [path], []
    groups: dict[str, list[str]] = {}
    for file in sorted(files, key=_in_order):
        groups.setdefault(_split_of(file), []).append(file)
    known = [name for name in sorted(groups) if _is_known(name, groups[name][0])]
    if split is not None and split not in groups:
        raise UnknownSplit(f"split {split!r} is not in {str(path)!r}; it has: {listed(sorted(groups))}")
    if split is None and known and len(groups) > 1:
        others = [groups[name][0] for name in sorted(groups) if name not in known]
        beside = f" beside the files {listed(others)}" if others else ""
        what = "splits" if len(known) > 1 else "split"
        raise UsageError(
            f"source {str(path)!r} has the {what} {listed(known)}{beside}; choose one with split="
        )
    chosen = groups[split] if split is not None else sorted(files, key=_in_order)
    folders = sorted({_dataset_folder(file) for file in chosen})
    if len(folders) > 1:
        raise UsageError(
            f"source {str(path)!r} has parquet files in the folders {listed(folders)}; pass one of them"
        )
    _refuse_missing_shards(path, chosen)
    others = [file for file in files if file not in chosen and _dataset_folder(file) == folders[0]]
    return [path / file for file in chosen], [path / file for file in sorted(others, key=_in_order)]


def _split_of(file: str) -> str:
    """Return the first word of a file's name, or the folder that stands for the split."""
    *folders, name = file.replace(".parquet/", "/").split("/")
    word = re.split(r"[-.]", name)[0]
    if is_split(word):
        return word
    named = [folder for folder in folders if is_split(folder)]
    if named:
        return named[-1]
    return folders[-1] if folders and word.isdigit() else word


def _is_known(split: str, file: str) -> bool:
    """Whether the layout tells that the files are of a split, and not of a dataset without splits."""
    return is_split(split) or bool(SHARD.search(file)) or f"/{file}".split("/")[-2] == split


def _dataset_folder(file: str) -> str:
    """Return the folder that holds all splits, such as "data"; "." is the source itself."""
    folders = file.replace(".parquet/", "/").split("/")[:-1]
    while folders and folders[-1] == _split_of(file):
        folders.pop()
    return "/".join(folders) or "."


def _in_order(file: str) -> list[tuple[int, str]]:
    """Sort numbers in names by their value: shard 2 before shard 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file)]


def _refuse_missing_shards(path: Path, files: Sequence[str]) -> None:
    shards = [(int(match[1]), int(match[2])) for file in files if (match := SHARD.search(file))]
    if len({number for number, _ in shards}) != len(shards) or len({of for _, of in shards}) > 1:
        raise UsageError(
            f"source {str(path)!r} has shards of more than one export ({listed(files)}); keep one of them"
        )
    missing = sorted(set(range(shards[0][1] if shards else 0)) - {number for number, _ in shards})
    if missing:
        raise UsageError(
            f"source {str(path)!r} has {len(shards)} of {shards[0][1]} shards ({listed(files)}); get the rest"
        )
