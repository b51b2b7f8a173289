"""Sources of the dashboard's runs: Redis or Ray, or a folder of run directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.passwords import without_password
from sadp_dist.store import BACKENDS, RunView, attach, list_runs, open_snapshot
from sadp_dist.store.backends.saved import CHECKPOINTS, newest_in

TIMEOUT = 2.0
"""Seconds until a store that does not answer is considered unreachable."""


class OpenRun(Protocol):
    """A run that is open for reading."""

    def store(self) -> RunView:
        """Return the current store of the run, to read."""

    def close(self) -> None:
        """Close the run."""


class Source(Protocol):
    """A source of runs. Calls may be slow.

    Attributes:
        name: the URL without password, or the folder.
    """

    name: str

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs, in the form of `sadp_dist.store.list_runs`."""

    def open(self, run: str) -> OpenRun:
        """Open one of the runs that `runs` returned last, without waiting."""


def open_source(store: str) -> Source:
    """Return the source for a store's URL or a folder.

    Raises:
        UsageError: it is neither.
    """
    if "://" in store or store.partition(":")[0] in BACKENDS:
        return UrlSource(store)
    if Path(store).is_dir():
        return FolderSource(Path(store))
    raise UsageError(
        f"--store {without_password(store)} does not exist; give a URL such as redis://HOST, or a folder of "
        "run directories"
    )


class UrlSource:
    """The runs in Redis or Ray."""

    def __init__(self, url: str) -> None:
        self.name = without_password(url)
        self._url = url

    def runs(self) -> list[dict[str, Any]]:
        return list_runs(self._url)

    def open(self, run: str) -> OpenRun:
        return AttachedRun(self._url, run)


class AttachedRun:
    """A run in Redis or Ray, with one connection."""

    def __init__(self, url: str, run: str) -> None:
        self._url, self._run = url, run
        self._store: RunView | None = None

    def store(self) -> RunView:
        if self._store is None:
            self._store = attach(self._url, self._run, timeout=TIMEOUT)
        return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


class FolderSource:
    """Run directories by their names, each read from its newest checkpoint.

    Args:
        folder: of run directories, or one run directory.
    """

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder.resolve()
        self._folders: dict[str, Path] = {}
        self._described: dict[tuple[Path, float], dict[str, Any]] = {}

    def runs(self) -> list[dict[str, Any]]:
        self._folders = self._find_folders()
        found: set[tuple[str, Path, float]] = set()
        problems: list[dict[str, Any]] = []
        for name, folder in self._folders.items():
            try:
                if newest := _newest(folder):
                    found.add((name, *newest))
            except UsageError as error:
                problems.append({"run": name, "last_snapshot": None, "problem": str(error)})
        self._described = {
            (file, saved): self._described.get((file, saved)) or _describe(name, file, saved)
            for name, file, saved in sorted(found)
        }
        return [*self._described.values(), *problems]

    def open(self, run: str) -> OpenRun:
        return SavedRun(self._folders[run])

    def _find_folders(self) -> dict[str, Path]:
        if (self._folder / CHECKPOINTS).is_dir():
            return {self._folder.name: self._folder}
        try:
            return {path.name: path for path in self._folder.iterdir() if path.is_dir()}
        except OSError as error:  # it existed at the start, and may come back
            raise StoreUnavailable(f"{self.name} cannot be read: {error.strerror}") from error


class SavedRun:
    """A run directory, read again whenever there is a newer checkpoint."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._at: tuple[Path, float] | None = None
        self._store: RunView | None = None

    def store(self) -> RunView:
        newest = _newest(self._folder)
        if self._store is None or newest != self._at:
            self._store, self._at = open_snapshot(self._folder), newest
        return self._store

    def close(self) -> None:
        self._store = self._at = None


def _newest(folder: Path) -> tuple[Path, float] | None:
    """Return a run's newest saved store and when it was written; None if there is none.

    Raises:
        UsageError: the folder holds several runs, or a damaged store.
    """
    try:
        file = newest_in(folder)
        return None if file is None else (file, file.stat().st_mtime)
    except FileNotFoundError:
        return None


def _describe(run: str, file: Path, saved: float) -> dict[str, Any]:
    try:
        figures = open_snapshot(file).stats()
    except UsageError as error:
        return {"run": run, "last_snapshot": saved, "problem": str(error)}
    return {
        "run": run,
        "dataset_size": figures.dataset_size,
        "method": figures.method,
        "epoch": figures.epoch,
        "last_snapshot": saved,
    }
