"""`Run`: what all processes of a training run agree on, from its start to its end."""

from __future__ import annotations

import numbers
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.config import PruningConfig

MAX_WORLD_SIZE = 2**16
"""Largest number of ranks. It bounds the memory that messages from outside can make a store use."""


@dataclass(frozen=True, eq=False)
class Run:
    """One training run over one data set.

    Attributes:
        name: of the run, not empty.
        dataset_size: N, at least 1.
        pruning: how epochs are planned.
        labels: (N,) int32 class of each example, or None; given as any integers >= 0.

    Raises:
        UsageError: one of them is wrong, or labels are missing where `pruning` draws by class.
    """

    name: str
    dataset_size: int
    pruning: PruningConfig
    labels: NDArray[Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        if not is_integer(self.dataset_size) or self.dataset_size < 1:
            raise UsageError(f"dataset_size={self.dataset_size!r} is not an integer of 1 or more")
        object.__setattr__(self, "dataset_size", int(self.dataset_size))  # NumPy's has no JSON
        if not isinstance(self.pruning, PruningConfig):
            raise UsageError(f"pruning={self.pruning!r} is not a PruningConfig")
        if self.labels is not None:
            object.__setattr__(self, "labels", _check_labels(self.labels, self.dataset_size))
        elif self.pruning.needs_labels is not None:
            raise UsageError(f"labels are needed for {self.pruning.needs_labels}")

    def check_epoch(self, epoch: int) -> int:
        """Return an epoch of the run's schedule as a Python int.

        Raises:
            UsageError: it is not an integer in [0, K - 1].
        """
        epochs = self.pruning.run_epochs
        if not is_integer(epoch) or not 0 <= epoch < epochs:
            raise UsageError(
                f"epoch={epoch!r} is not an epoch of this run: 0..{epochs - 1} "
                f"(pruning.{self.pruning.epochs_in_words()})"
            )
        return int(epoch)

    def facts(self) -> dict[str, Any]:
        """Return what plans depend on besides the scores, as plain JSON, for `differences`."""
        labels = None if self.labels is None else f"crc32:{zlib.crc32(self.labels.tobytes()):08x}"
        return {
            "dataset_size": self.dataset_size,
            **{f"pruning.{key}": value for key, value in self.pruning.to_dict().items()},
            "labels": labels,
        }


def differences(theirs: dict[str, Any], ours: dict[str, Any], here: str = "here") -> str:
    """Return the differences of two runs, "key=theirs (here ours)", in one line; empty if there are none.

    Labels are compared if both runs have them. An option that one run does not know is None there: another
    release added or removed it.
    """

    def value(facts: dict[str, Any], key: str) -> str:
        return repr(facts.get(key))

    differ = [key for key in {**ours, **theirs} if value(theirs, key) != value(ours, key)]
    if theirs.get("labels") is None or ours.get("labels") is None:
        differ = [key for key in differ if key != "labels"]
    return ", ".join(f"{key}={value(theirs, key)} ({here} {value(ours, key)})" for key in differ)


def check_name(name: Any) -> None:
    """Check the name of a run.

    Raises:
        UsageError: it is not a string of Unicode characters, or empty.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"run={name!r} is not a name: a string that is not empty")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(f"run={name!r} is not a name: it has a character that is not Unicode's") from None


def is_integer(value: Any) -> bool:
    """Return whether a value is an integer of Python or NumPy; True and False are not."""
    return type(value) is int or (isinstance(value, numbers.Integral) and not isinstance(value, bool))


def check_rank(rank: int, world_size: int) -> tuple[int, int]:
    """Return a rank and its world size as Python ints.

    Raises:
        UsageError: world_size is not an integer in [1, MAX_WORLD_SIZE], or rank not one in
            [0, world_size - 1].
    """
    if not is_integer(world_size) or not 1 <= world_size <= MAX_WORLD_SIZE:
        raise UsageError(f"world_size={world_size!r} is not an integer in 1..{MAX_WORLD_SIZE}")
    if not is_integer(rank) or not 0 <= rank < world_size:
        raise UsageError(
            f"rank={rank!r} is not an integer in 0..{world_size - 1}, as world_size={world_size} asks"
        )
    return int(rank), int(world_size)


def _check_labels(labels: ArrayLike, dataset_size: int) -> NDArray[np.int32]:
    array = np.asarray(labels)
    if array.shape != (dataset_size,):
        raise UsageError(f"labels have shape {array.shape}: ({dataset_size},) is needed, one an example")
    if array.dtype.kind not in "iu":
        raise UsageError(f"labels have dtype {array.dtype}: integers are needed")
    if array.min() < 0 or array.max() > np.iinfo(np.int32).max:
        raise UsageError(f"labels go from {array.min()} to {array.max()}: 0..2^31 - 1 is allowed")
    return array.astype(np.int32)
