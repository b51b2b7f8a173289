"""`Run`, what all processes of a training run agree on, and what they send to it: `Records` and `Figures`.

Each value is checked once, where it enters the process.
"""

from __future__ import annotations

import math
import re
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.plan import is_integer, plan_epoch

MAX_EPOCH = 2**31 - 1
MAX_FIGURES = 64
"""Of an epoch."""
LONGEST_NAME = 48
_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_./-]{{0,{LONGEST_NAME - 1}}}")


@dataclass(frozen=True, eq=False)
class Run:
    """One training run over one data set.

    Attributes:
        name: of the run, not empty.
        dataset_size: N, at least 1.
        pruning: how epochs are planned.
        labels: (N,) int32 class of each example, or None; given as any integers >= 0.
        data: fingerprints of the data set by kind, as `sadp_dist.data.fingerprints` gives them. Whoever shows
            examples of the run compares them; plans do not depend on them.

    Raises:
        UsageError: one of them is wrong, or labels are missing where `pruning` draws by class.
    """

    name: str
    dataset_size: int
    pruning: PruningConfig
    labels: NDArray[Any] | None = field(default=None, repr=False)
    data: dict[str, str] = field(default_factory=dict, repr=False)

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

    def planned_sizes(self, epochs: int) -> list[int]:
        """Return S = (1 - r_k) N, rounded, of each of the first epochs.

        Raises:
            UsageError: the run has fewer epochs, or `epochs` is below 1.
        """
        if not is_integer(epochs) or not 1 <= epochs <= self.pruning.run_epochs:
            raise UsageError(
                f"epochs={epochs!r} is not in 1..{self.pruning.run_epochs} "
                f"(pruning.{self.pruning.epochs_in_words()})"
            )
        return [round((1 - self._ratio(epoch)) * self.dataset_size) for epoch in range(epochs)]

    def refuse_empty(self) -> None:
        """Refuse a run whose epochs all keep no example because S rounds to 0; warn if some do.

        A ratio of 1 is no such mistake.

        Raises:
            UsageError: no epoch keeps an example.
        """
        N, first, end = self.dataset_size, self.pruning.tracked_epochs, self.pruning.run_epochs
        # A ratio grows over the run, or is the same in its middle: these show the largest and the smallest.
        looked_at = sorted({first, min(first + 1, end - 1), (first + end) // 2, end - 1})
        empty = [epoch for epoch in looked_at if self._rounds_to_nothing(epoch)]
        if not empty:
            return
        ratio = self._ratio(empty[0])
        said = f"the ratio {ratio:g} of dataset_size={N} keeps {(1 - ratio) * N:.2g} examples, rounded to 0"
        if empty == looked_at:
            raise UsageError(f"{said}, so no epoch trains on anything; lower pruning.ratio")
        warnings.warn(
            f"{said}, so epoch {empty[0] + 1} of {end} and others like it train on nothing; lower "
            "pruning.ratio or pruning.max_ratio",
            stacklevel=3,
        )

    def _ratio(self, epoch: int) -> float:
        rule, k = self.pruning.rule_of(epoch)
        return rule.ratio(k)

    def _rounds_to_nothing(self, epoch: int) -> bool:
        """Whether S of an epoch without scores is 0; a rule may keep more than its ratio says."""
        ratio = self._ratio(epoch)
        if ratio == 1 or round((1 - ratio) * self.dataset_size) > 0:
            return False
        nothing = np.full(self.dataset_size, np.nan, np.float32)
        return plan_epoch(nothing, epoch, self.pruning, self.labels).subset_size == 0

    def needs_scores_of(self, epoch: int) -> bool:
        """Whether later plans use the scores of an epoch."""
        rule, tracked = self.pruning.rule, self.pruning.tracked_epochs
        return rule.needs_scores and (epoch < tracked or not (rule.fixed and tracked))

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


def _check_labels(labels: ArrayLike, dataset_size: int) -> NDArray[np.int32]:
    array = np.asarray(labels)
    if array.shape != (dataset_size,):
        raise UsageError(f"labels have shape {array.shape}: ({dataset_size},) is needed, one an example")
    if array.dtype.kind not in "iu":
        raise UsageError(f"labels have dtype {array.dtype}: integers are needed")
    if array.min() < 0 or array.max() > np.iinfo(np.int32).max:
        raise UsageError(f"labels go from {array.min()} to {array.max()}: 0..2^31 - 1 is allowed")
    return array.astype(np.int32)


class Records(NamedTuple):
    """Scores of one epoch that have passed all checks.

    Attributes:
        indices: (n,) int64, contiguous, each in [0, N).
        scores: (n,) float32, contiguous, each finite and >= 0.
        epoch: the epoch whose backward passes gave the scores, from 0.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float32]
    epoch: int


def check_epoch(epoch: Any) -> int:
    """Return an epoch as a Python int.

    Raises:
        UsageError: it is not an integer in [0, 2^31 - 1].
    """
    if not is_integer(epoch) or not 0 <= epoch <= MAX_EPOCH:
        raise UsageError(f"epoch={epoch!r} is not an epoch: an integer, 0 or more")
    return int(epoch)


def check_indices(indices: ArrayLike) -> NDArray[Any]:
    """Return example indices as a 1-d integer array; their values are not checked.

    Raises:
        UsageError: not 1-d, or not integers.
    """
    array = np.asarray(indices)
    if array.ndim != 1:
        raise UsageError(f"indices have shape {array.shape}: one dimension is needed")
    if array.size == 0 and not isinstance(indices, np.ndarray):
        array = array.astype(np.int64)  # numpy makes an empty list float64
    if array.dtype.kind not in "iu":
        raise UsageError(f"indices have dtype {array.dtype}: integers are needed")
    return array


def check_form(indices: ArrayLike, scores: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both arrays of a push, with dtype and shape checked; their values are not.

    Raises:
        UsageError: not 1-d, different lengths, indices that are not integers, or scores that are not real.
    """
    indices, scores = check_indices(indices), np.asarray(scores)
    if scores.ndim != 1:
        raise UsageError(f"scores have shape {scores.shape}: one dimension is needed")
    if len(indices) != len(scores):
        raise UsageError(f"{len(indices)} indices and {len(scores)} scores: as many are needed")
    if scores.dtype.kind not in "fiu":
        raise UsageError(f"scores have dtype {scores.dtype}: real numbers are needed")
    return indices, scores


def in_range(indices: NDArray[Any], dataset_size: int) -> NDArray[np.int64]:
    """Return indices as contiguous int64.

    Raises:
        UsageError: one is not in [0, dataset_size).
    """
    checked = np.ascontiguousarray(indices, dtype=np.int64)
    position = _first_outside(checked, dataset_size)
    if position >= 0:
        raise UsageError(
            f"indices[{position}]={indices[position]} is outside the data set's 0..{dataset_size - 1}"
        )
    return checked


def check_values(indices: NDArray[Any], scores: NDArray[Any], epoch: int, dataset_size: int) -> Records:
    """Return the scores of a push, after the one check of their values.

    The result may share memory with the arguments.

    Args:
        indices: (n,) integers; `check_form` has passed them, or a frame has.
        scores: (n,) real numbers, likewise.
        epoch: the epoch that the scores belong to; `check_epoch` has passed it.
        dataset_size: N.

    Raises:
        UsageError: what is wrong, with the first bad position and its value.
    """
    checked_indices = in_range(indices, dataset_size)
    checked_scores = _as_float32(scores)
    position = _first_bad_score(checked_scores)
    if position >= 0:
        raise UsageError(
            f"scores[{position}]={scores[position]} of example {indices[position]}, epoch={epoch}: "
            f"a score is a finite float32 >= 0"
        )
    return Records(checked_indices, checked_scores, epoch)


def _as_float32(scores: NDArray[Any]) -> NDArray[np.float32]:
    if scores.dtype == np.float32:  # nearly always; `errstate` takes longer than all the rest
        return np.ascontiguousarray(scores)
    with np.errstate(over="ignore"):  # a number beyond float32's range becomes inf, and is refused
        return np.ascontiguousarray(scores, dtype=np.float32)


@numba.njit(cache=True, nogil=True)
def _first_outside(indices: NDArray[np.int64], dataset_size: int) -> int:
    for position in range(len(indices)):
        if not 0 <= indices[position] < dataset_size:
            return position
    return -1


@numba.njit(cache=True, nogil=True)
def _first_bad_score(scores: NDArray[np.float32]) -> int:
    for position in range(len(scores)):
        if not 0 <= scores[position] < np.inf:  # false for NaN too
            return position
    return -1


class Figures(NamedTuple):
    """What training measured in an epoch, known to be good.

    Attributes:
        epoch: from 0.
        values: by name; finite.
    """

    epoch: int
    values: dict[str, float]


def check_figures(figures: Mapping[str, Any]) -> dict[str, float]:
    """The one check that recorded figures go through, wherever they come from.

    Raises:
        UsageError: too many, a name that is none, or a value that is no finite number.
    """
    if len(figures) > MAX_FIGURES:
        raise UsageError(f"figures are {len(figures)}: {MAX_FIGURES} an epoch are kept at most")
    for name, value in figures.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UsageError(
                f"figures have the name {name!r}: a letter, then letters, digits and _ . / - are needed, "
                f"{LONGEST_NAME} in all at most"
            )
        if not _is_finite_number(value):
            raise UsageError(f"figures[{name!r}]={value!r} is not a finite number")
    return {name: float(value) for name, value in figures.items()}


def _is_finite_number(value: Any) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False
