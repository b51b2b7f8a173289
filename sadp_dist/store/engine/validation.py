"""The checks of a push: each value is checked once, where it enters the process."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.store.engine.run import is_integer

MAX_EPOCH = 2**31 - 1


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
            f"scores[{position}]={scores[position]} of example {indices[position]}, epoch {epoch}: "
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
