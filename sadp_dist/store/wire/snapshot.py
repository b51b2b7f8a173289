"""A run's state as one file, or as bytes: a NumPy .npz with a JSON header, nothing pickled."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist.atomic_write import atomic_write
from sadp_dist.errors import UsageError
from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.plan import EpochPlan
from sadp_dist.selection.probabilities import Capping
from sadp_dist.store.engine.history import History
from sadp_dist.store.engine.run import Run
from sadp_dist.store.engine.table import State

FORMAT = "sadp_dist store"
VERSION = 1


@dataclass(frozen=True)
class Snapshot:
    """Everything an engine knows.

    Attributes:
        run: what the scores are of.
        state: of all examples.
        counters: pushes and the like, by name.
        plans: the latest ones, oldest first. Scores move on while an epoch trains, so a run resumed in the
            middle of it needs the plan itself.
        history: of the epochs so far.
        service: what a home knows beside the engine, plain JSON.
    """

    run: Run
    state: State
    counters: dict[str, int]
    plans: tuple[EpochPlan, ...]
    history: History = field(default_factory=History)
    service: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> Snapshot:
        """The same with arrays of its own; the labels, which nobody changes, are shared."""
        plans = tuple(
            replace(plan, indices=plan.indices.copy(), weights=plan.weights.copy()) for plan in self.plans
        )
        return replace(self, state=self.state.copy(), plans=plans)

    def write(self, file: IO[bytes]) -> None:
        """Write to a seekable binary file."""
        header = {
            "format": FORMAT,
            "version": VERSION,
            "run": self.run.name,
            "dataset_size": self.run.dataset_size,
            "pruning": asdict(self.run.pruning),
            "counters": self.counters,
            "plans": [_plan_figures(plan) for plan in self.plans],
            "service": self.service,
        }
        arrays: dict[str, NDArray[Any]] = {
            "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
            "history": self.history.lines(),
            **self.state._asdict(),
        }
        if self.run.labels is not None:
            arrays["labels"] = self.run.labels
        for number, plan in enumerate(self.plans):
            arrays[f"plan{number}_indices"] = plan.indices
            arrays[f"plan{number}_weights"] = plan.weights
        np.savez(file, **arrays)  # type: ignore[arg-type]

    def save(self, path: str | PathLike[str]) -> None:
        """Write to a path: whenever the machine stops, the path holds the old file or the new one, whole.

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
        """What `write` writes."""
        file = io.BytesIO()
        self.write(file)
        return file.getvalue()

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Snapshot:
        """Read what `save` wrote.

        Raises:
            UsageError: there is no such file, or it is not whole, not a store, or of another version.
        """
        name = f"path={str(path)!r}"
        try:
            file = open(path, "rb")  # noqa: SIM115 - closed below, and this error is the caller's to mend
        except FileNotFoundError:
            raise UsageError(f"{name} does not exist: a saved store is needed") from None
        except OSError as error:
            raise UsageError(f"{name} is not a saved store: {error.strerror}") from error
        with file:
            return cls.read_from(file, name)

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Snapshot:
        """As `read_from`, of bytes."""
        return cls.read_from(io.BytesIO(data), name)

    @classmethod
    def read_from(cls, file: IO[bytes], name: str) -> Snapshot:
        """Read what `write` wrote.

        Args:
            file: seekable and binary, at its start.
            name: what the errors call it.

        Raises:
            UsageError: it is not whole, not a store, or of another version.
        """
        try:
            damaged = zipfile.ZipFile(file).testzip()  # before an array is made as large as it says it is
            if damaged is not None:
                raise ValueError(f"{damaged} is damaged")
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            header = json.loads(arrays["header"].tobytes())
            if header["format"] != FORMAT:
                raise ValueError(f"its format is {header['format']!r}")
            if header["version"] == VERSION:
                return cls._from_arrays(header, dict(arrays))
        except Exception as error:  # a damaged archive raises nearly anything
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UsageError(
                f"{name} is not a saved store, or was cut short ({reason}); use an older one"
            ) from error
        raise UsageError(
            f"{name} is a saved store of version {header['version']}; version {VERSION} is needed"
        )

    @classmethod
    def _from_arrays(cls, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Snapshot:
        pruning = PruningConfig(**header["pruning"])
        run = Run(header["run"], header["dataset_size"], pruning, arrays.get("labels"))
        plans = tuple(
            _plan(figures, arrays[f"plan{number}_indices"], arrays[f"plan{number}_weights"])
            for number, figures in enumerate(header["plans"])
        )
        state = State.of(arrays)
        for array, dtype in zip(state, (np.float32, np.int32, np.float32), strict=True):
            if array.shape != (run.dataset_size,) or array.dtype != dtype:
                raise ValueError(f"it holds {array.dtype} {array.shape} for {run.dataset_size} examples")
        history, service = History.of(arrays), header.get("service", {})  # older files have neither
        return cls(run, state, header["counters"], plans, history, service)


def _plan_figures(plan: EpochPlan) -> dict[str, Any]:
    return {
        "epoch": plan.epoch,
        "ratio": plan.ratio,
        "subset_size": plan.subset_size,
        "weighted_size": plan.weighted_size,
        "dataset_size": plan.dataset_size,
        "capping": asdict(plan.capping),
    }


def _plan(figures: dict[str, Any], indices: NDArray[np.int64], weights: NDArray[np.float64]) -> EpochPlan:
    capping = Capping(**figures.pop("capping"))
    figures.setdefault("weighted_size", figures["subset_size"])  # older files have none
    return EpochPlan(**figures, drawn=len(indices), capping=capping, indices=indices, weights=weights)
