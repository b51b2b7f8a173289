"""The state of a run as one file or as bytes: a NumPy .npz with a JSON header, nothing pickled."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.typing import NDArray

from sadp_dist.atomic_write import atomic_write
from sadp_dist.errors import UsageError
from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.plan import EpochPlan, ProbabilityReport
from sadp_dist.selection.rule import RULES
from sadp_dist.selection.table import ScoreTable
from sadp_dist.store.engine.history import History
from sadp_dist.store.engine.run import Run

FORMAT = "sadp_dist store"
VERSION = 2
READABLE = (1, 2)
"""Versions that can be read."""


class NotKnownHere(UsageError):
    """A saved run needs a pruning rule that no imported module registers."""


@dataclass(frozen=True)
class Snapshot:
    """Everything an engine knows.

    Attributes:
        run: what the scores are of.
        table: what is known about each example; its labels are those of `run`.
        counters: pushes and the like, by name.
        plans: the latest ones, oldest first. Scores change during an epoch, so a run that resumes within one
            needs the plan itself.
        history: of the epochs so far.
        service: the state of the service beside the engine, plain JSON.
    """

    run: Run
    table: ScoreTable
    counters: dict[str, int]
    plans: tuple[EpochPlan, ...]
    history: History = field(default_factory=History)
    service: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> Snapshot:
        """The same with arrays of its own; the labels, which nobody changes, are shared."""
        plans = tuple(plan.copy() for plan in self.plans)
        return replace(self, table=self.table.copy(), plans=plans)

    def write(self, file: IO[bytes]) -> None:
        """Write to a seekable binary file."""
        header = {
            "format": FORMAT,
            "version": VERSION,
            "run": self.run.name,
            "dataset_size": self.run.dataset_size,
            "pruning": self.run.pruning.to_dict(),
            "data": self.run.data,
            "counters": self.counters,
            "plans": [_plan_header(plan) for plan in self.plans],
            "service": self.service,
        }
        arrays: dict[str, NDArray[Any]] = {
            "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
            "history": self.history.lines(),
            "scores": self.table.scores,
            "score_epochs": self.table.score_epochs,
            "scores_before": self.table.scores_before,
            **{f"state_{name}": array for name, array in self.table.state.items()},
        }
        if self.run.labels is not None:
            arrays["labels"] = self.run.labels
        for number, plan in enumerate(self.plans):
            arrays[f"plan{number}_indices"] = plan.indices
            arrays[f"plan{number}_weights"] = plan.weights
            if plan.whole_weights is not None:
                arrays[f"plan{number}_whole_weights"] = plan.whole_weights
        np.savez(file, **arrays)  # type: ignore[arg-type]

    def save(self, path: str | PathLike[str]) -> None:
        """Write to a path. If the machine stops, the path holds the old file or the new one, complete.

        Raises:
            UsageError: the file cannot be written: its folder does not exist, or the disk is full.
        """
        path = Path(path)
        try:
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                self.write(file)
        except OSError as error:
            raise UsageError(f"path={str(path)!r} cannot be written: {error.strerror}") from error

    def to_bytes(self) -> bytes:
        """Return what `write` writes."""
        file = io.BytesIO()
        self.write(file)
        return file.getvalue()

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Snapshot:
        """Read what `save` wrote.

        Raises:
            UsageError: there is no such file, or it is damaged, not a store, or of another version.
        """
        with _opened(path) as file:
            return cls.read_from(file, _named(path))

    @classmethod
    def read_header(cls, path: str | PathLike[str]) -> dict[str, Any]:
        """Return what a file says of its run, counters and plans, without reading its arrays.

        Raises:
            UsageError: as `read`, except that damage to the arrays is not noticed.
        """
        with _opened(path) as file, _damage_said(_named(path)):
            _check_sizes(file)
            return _header_of(np.load(file, allow_pickle=False))

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Snapshot:
        """Read bytes that `to_bytes` returned; see `read_from`."""
        return cls.read_from(io.BytesIO(data), name)

    @classmethod
    def read_from(cls, file: IO[bytes], name: str) -> Snapshot:
        """Read what `write` wrote.

        Args:
            file: seekable and binary, at its start.
            name: what the errors call it.

        Raises:
            UsageError: it is damaged, not a store, or of another version.
            NotKnownHere: its run uses a pruning rule that is not registered in this process.
        """
        with _damage_said(name):
            _check_sizes(file)
            damaged = zipfile.ZipFile(file).testzip()
            if damaged is not None:
                raise ValueError(f"{damaged} is damaged")
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            return cls._from_arrays(_header_of(arrays), dict(arrays))

    @classmethod
    def _from_arrays(cls, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Snapshot:
        method = header["pruning"]["method"]
        if method not in RULES:
            raise NotKnownHere(
                f'run {header["run"]!r} uses the pruning rule "{method}", which is not known here; import '
                "the module that registers it with --imports MODULE"
            )
        pruning = PruningConfig.parse(PruningConfig.keys_in_use(header["pruning"]))
        run = Run(
            header["run"], header["dataset_size"], pruning, arrays.get("labels"), header.get("data", {})
        )
        plans = tuple(
            _plan(
                figures,
                arrays[f"plan{number}_indices"],
                arrays[f"plan{number}_weights"],
                arrays.get(f"plan{number}_whole_weights"),
                pruning,
            )
            for number, figures in enumerate(header["plans"])
        )
        scores = arrays["scores"]
        before = arrays.get("scores_before", np.full_like(scores, np.nan))  # older files have none
        state = {name: arrays[f"state_{name}"] for name in pruning.rule.arrays}
        table = ScoreTable(scores, arrays["score_epochs"], before, run.labels, state)
        dtypes = np.float32, np.int32, np.float32, *pruning.rule.arrays.values()
        for array, dtype in zip(table.arrays().values(), dtypes, strict=True):
            if array.shape != (run.dataset_size,) or array.dtype != dtype:
                raise ValueError(f"it holds {array.dtype} {array.shape} for {run.dataset_size} examples")
        history, service = History.of(arrays), header.get("service", {})  # older files have neither
        return cls(run, table, header["counters"], plans, history, service)


class _OtherVersion(UsageError):
    """A saved store of a version that cannot be read."""


def _named(path: str | PathLike[str]) -> str:
    return f"path={str(path)!r}"


@contextmanager
def _opened(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """Yield a saved store, open to read.

    Raises:
        UsageError: there is no such file, or it cannot be opened.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below, and this error is the caller's to mend
    except FileNotFoundError:
        raise UsageError(f"{_named(path)} does not exist: a saved store is needed") from None
    except OSError as error:
        raise UsageError(f"{_named(path)} is not a saved store: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def _damage_said(name: str) -> Iterator[None]:
    """Turn whatever a damaged archive may raise into a UsageError that calls it `name`."""
    try:
        yield
    except (NotKnownHere, _OtherVersion) as error:
        raise type(error)(f"{name}{'' if isinstance(error, _OtherVersion) else ':'} {error}") from None
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"{name} is not a saved store, or was cut short ({reason}); use an older one"
        ) from error


def _check_sizes(file: IO[bytes]) -> None:
    """Refuse an archive whose arrays would take more memory than the file has bytes, before any is read.

    Args:
        file: seekable and binary; it is at its start afterwards.

    Raises:
        ValueError: an array is compressed, or says that it is of another size.
    """
    archive = zipfile.ZipFile(file)
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{member.filename} is compressed")
        with archive.open(member) as array:
            read = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}[read_magic(array)]
            shape, _, dtype = read(array)
            if array.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
                raise ValueError(f"{member.filename} is of another size than it says")
    file.seek(0)


def _header_of(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(arrays["header"].tobytes())
    if header["format"] != FORMAT:
        raise ValueError(f"its format is {header['format']!r}")
    if header["version"] not in READABLE:
        raise _OtherVersion(
            f"is a saved store of version {header['version']}; this release reads versions "
            f"{' and '.join(map(str, READABLE))}"
        )
    return header


def _plan_header(plan: EpochPlan) -> dict[str, Any]:
    return {
        "epoch": plan.epoch,
        "ratio": plan.ratio,
        "subset_size": plan.subset_size,
        "weighted_size": plan.weighted_size,
        "dataset_size": plan.dataset_size,
        "report": asdict(plan.report),
        "weight_exponent": plan.weight_exponent,
    }


def _plan(
    header: dict[str, Any],
    indices: NDArray[np.integer],
    weights: NDArray[np.float64],
    whole_weights: NDArray[np.float32] | None,
    pruning: PruningConfig,
) -> EpochPlan:
    if "capping" in header:  # version 1
        header["report"] = header.pop("capping")
    known = [field.name for field in fields(ProbabilityReport)]
    report = {key: value for key, value in header["report"].items() if key in known}
    header.setdefault("weighted_size", header["subset_size"])  # older files have none
    run_key = pruning.run_key(header["epoch"])
    return EpochPlan(
        **{**header, "report": ProbabilityReport(**report)},
        indices=indices,
        weights=weights,
        whole_weights=whole_weights,
        run_key=run_key,
    )
