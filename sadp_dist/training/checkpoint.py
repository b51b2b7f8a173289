"""Checkpoints: folders with everything that a resumed run needs.

``checkpoints/e0003-b000120/`` means: 3 epochs are done, and 120 batches per rank of the fourth. It contains
``state.pt`` (network, optimizer, AMP scale, sums of the epoch so far, random state of every rank) and
``store.npz`` (the scores and the epoch's plan). A checkpoint is written under a temporary name and renamed,
so a crash at any moment keeps the one before. Both files are zip archives with a checksum of every part.
They are checked before they are loaded, which `torch.load` does not do.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import shlex
import shutil
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from sadp_dist.atomic_write import TEMPORARY, fsync, temporary_beside
from sadp_dist.errors import CannotWrite, UsageError
from sadp_dist.selection import PruningConfig
from sadp_dist.snn.layers import PARAMETRIZED
from sadp_dist.snn.models.published import our_names
from sadp_dist.store import Store
from sadp_dist.store.backends.saved import CHECKPOINTS, FILE_NAME, checkpoint_name, checkpoint_place
from sadp_dist.training.extension import extended_store
from sadp_dist.training.metrics import METRICS_FILE
from sadp_dist.training.processes import Process

STATE = "state.pt"
LONGEST_DIFFERENCE = 200
"""Maximum number of characters of torch's error in a message."""


class Checkpoints:
    """The checkpoints of a run directory.

    Args:
        run_dir: the run directory.
        keep: number of checkpoints to keep.
    """

    def __init__(self, run_dir: Path, keep: int = 2) -> None:
        self.folder = run_dir / CHECKPOINTS
        self.keep = keep

    def all(self) -> list[Path]:
        """Return the complete checkpoints, oldest first."""
        found = [(place, path) for path in self.folder.glob("e*-b*") if (place := checkpoint_place(path))]
        return [path for _, path in sorted(found)]

    def save(self, process: Process, store: Store, epoch: int, batch: int, state: dict[str, Any]) -> None:
        """Write a checkpoint on rank 0. Every rank must call it.

        Raises:
            CannotWrite: such as on a full disk. Nothing of the checkpoint is left.
        """
        final = self.folder / checkpoint_name(epoch, batch)
        temporary = temporary_beside(final)
        randomness = [random_state(process.device)]
        if process.communicates:
            gathered: list[Any] = [None] * process.world_size
            dist.all_gather_object(gathered, randomness[0])
            randomness = gathered
        state = {"epoch": epoch, "batch": batch, "random": randomness, **state}

        write = partial(self._write, temporary, final, state)
        process.agree(lambda: write(lambda: self._begin(temporary)) if process.is_first else None)
        try:
            store.save(temporary / FILE_NAME)  # on every rank: includes pushes in flight
        except UsageError as error:  # alike on every rank
            if process.is_first:
                write(partial(_raise, error))
            raise CannotWrite(str(error)) from error
        process.agree(lambda: write(lambda: self._end(temporary, final, state)) if process.is_first else None)

    def _begin(self, temporary: Path) -> None:
        for unfinished in self.folder.glob(f"{TEMPORARY}*"):  # of a process that was killed
            shutil.rmtree(unfinished, ignore_errors=True)
        temporary.mkdir(parents=True)

    def _end(self, temporary: Path, final: Path, state: dict[str, Any]) -> None:
        with (temporary / STATE).open("wb") as file:  # with a name, torch would hide the error of the disk
            torch.save(state, file)
        fsync(temporary / STATE)
        if (metrics := self.folder.parent / METRICS_FILE).exists():
            fsync(metrics)  # on disk before the checkpoint after them
        shutil.rmtree(final, ignore_errors=True)
        os.rename(temporary, final)
        fsync(self.folder)
        for old in self.all()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)

    def _write(self, temporary: Path, final: Path, state: dict[str, Any], step: Callable[[], None]) -> None:
        """Take a step of writing a checkpoint. If the disk fails, remove what was written, and say so."""
        try:
            step()
        except (OSError, RuntimeError, UsageError) as error:
            stores = [folder / FILE_NAME for folder in (temporary, *self.all()[-1:])]
            needed = _size_of(state) + next((file.stat().st_size for file in stores if file.exists()), 0)
            shutil.rmtree(temporary, ignore_errors=True)
            of_disk = _error_of_disk(error)
            if of_disk is None:
                raise
            lacking = ""
            if of_disk.errno in (errno.ENOSPC, errno.EDQUOT):
                free = shutil.disk_usage(self.folder.parent).free
                lacking = f": it needs about {_mebibytes(needed)}, and {_mebibytes(free)} are free"
            raise CannotWrite(
                f"the checkpoint {final} cannot be written ({of_disk.strerror}){lacking}; mend that, and "
                "continue with --resume"
            ) from error

    def load_latest(
        self, process: Process, store: Store, pruning: PruningConfig
    ) -> tuple[dict[str, Any], int | None] | None:
        """Load the newest checkpoint into the store.

        Args:
            process: this rank.
            store: of the run.
            pruning: of the run. It may have more epochs than when the checkpoint was written.

        Returns:
            Its state, and the earlier number of epochs, None if it is the same; None without a checkpoint.

        Raises:
            AgreedError: it is damaged.
        """
        found = self.all()
        if not found:
            return None
        path = found[-1]
        process.agree(lambda: self._check_whole(found) if process.is_first else None)
        state = process.agree(lambda: read_state(path))
        file, before = process.agree(lambda: extended_store(path / FILE_NAME, pruning, process.is_first))
        store.load(file)
        if before is not None and process.is_first:
            file.unlink(missing_ok=True)
        if len(state["random"]) == process.world_size:
            restore_random_state(state["random"][process.rank], process.device)
        return state, before

    def _check_whole(self, found: Sequence[Path]) -> None:
        """Refuse a damaged newest checkpoint, and name the newest one that is whole."""
        damage = damage_of(found[-1])
        if damage is None:
            return
        newer = [found[-1]]
        for before in reversed(found[:-1]):
            if damage_of(before) is None:
                remove = " ".join(shlex.quote(str(path)) for path in newer)
                advice = f"to resume from {before.name}, which is whole: rm -r {remove}"
                break
            newer.append(before)
        else:
            advice = "no other one is whole; restore one from a backup, or start again with --overwrite"
        raise UsageError(f"the checkpoint {found[-1]} is damaged: {damage}; {advice}")


def load_weights(network: nn.Module, source: Path) -> None:
    """Load weights from a run's newest checkpoint, or from a file, into a network.

    Args:
        network: changed in place.
        source: a run directory; or a file that torch.save wrote, with tensors by name at the top level or
            under "model", "state_dict" or "network". The names are those of the network or of a published
            format (`sadp_dist.snn.models.published`).

    Raises:
        UsageError: there are no weights, or they belong to another network.
    """
    shown = f"network.weights={str(source)!r}"
    if source.is_file():
        weights = _read_published(source, shown)
    else:
        found = Checkpoints(source).all()
        if not found:
            raise UsageError(
                f"{shown} holds no checkpoint; give the directory of a run, or a file of weights"
            )
        weights = {
            # If the weights are quantised, load the underlying float32 weights.
            name.replace(PARAMETRIZED, ".weight"): weight
            for name, weight in read_state(found[-1])["network"].items()
        }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        difference = str(error).splitlines()[1].strip()
        if len(difference) > LONGEST_DIFFERENCE:  # it may list every tensor of a network
            difference = difference[:LONGEST_DIFFERENCE] + "..."
        raise UsageError(f"{shown} belongs to another network ({difference})") from None


def _error_of_disk(error: BaseException | None) -> OSError | None:
    """Return the error of the disk that an error comes from; None if there is none."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _raise(error: Exception) -> None:
    raise error


def _size_of(state: dict[str, Any]) -> int:
    """Return the number of bytes of a state's file."""
    counter = _Counter()
    torch.save(state, counter)  # type: ignore[arg-type]
    return counter.size


class _Counter(io.RawIOBase):
    """A file that only counts its bytes."""

    size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.size += len(data)
        return len(data)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _read_published(file: Path, shown: str) -> dict[str, torch.Tensor]:
    """Return the weights in a file, by the names of the network."""
    damage = _damage_of_archive(file) if zipfile.is_zipfile(file) else None  # it may be older
    if damage is not None:
        raise UsageError(f"{shown} is damaged: {damage}; get the file again, or save it anew with torch.save")
    try:
        # Many published checkpoints also contain the arguments of their training.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:LONGEST_DIFFERENCE]
        raise UsageError(
            f"{shown} cannot be read ({reason}); give a file of weights that torch.save wrote"
        ) from None
    for key in ("model", "state_dict", "network"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(isinstance(x, torch.Tensor) for x in content.values()):
        raise UsageError(f'{shown} holds no weights; give a file of tensors by name, alone or under "model"')
    try:
        return our_names(content)
    except KeyError as error:
        raise UsageError(f"{shown} belongs to an unknown network: it has {error.args[0]!r}") from None


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return what `state.pt` of a checkpoint holds, on the CPU.

    Raises:
        UsageError: it is damaged.
    """
    damage = _damage_of_archive(checkpoint / STATE)
    if damage is None:
        try:
            # Each part moves to its device when it is loaded; AdamW's step counts stay on the CPU.
            state: dict[str, Any] = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
            return state
        except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
            damage = f"{STATE} cannot be read ({' '.join(str(error).split())})"
    raise UsageError(f"the checkpoint {checkpoint} is damaged: {damage}; remove it to use the one before")


def damage_of(checkpoint: Path) -> str | None:
    """Return what is wrong with the files of a checkpoint; None if their checksums are right."""
    return _damage_of_archive(checkpoint / STATE) or _damage_of_archive(checkpoint / FILE_NAME)


def _damage_of_archive(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            part = archive.testzip()
    except Exception as error:  # a damaged archive may raise anything
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        return f"{file.name} cannot be read ({reason or type(error).__name__})"
    return None if part is None else f"{part} in {file.name} does not have its checksum"


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
