"""Fingerprints of datasets: whether two of them hold the same examples in the same order.

A dataset has several, by kind, because not every source can be compared with every other: "content" of a
.beton file, one under the kind of its source, such as "zip", and "labels", which every dataset has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import UsageError

DIGEST = 16
"""Bytes of a fingerprint."""
WEAK = ("sizes", "labels")
"""Kinds that different images may share; they count where there is no other. The strongest is first."""


def labels_fingerprint(labels: NDArray[Any]) -> str:
    """Return a fingerprint of (N,) integer labels in order, as hexadecimal digits."""
    return hashlib.blake2b(np.ascontiguousarray(labels, "<i8").data, digest_size=DIGEST).hexdigest()


def fingerprints_of(examples: Any) -> dict[str, str]:
    """Return the fingerprints of a dataset by kind, the strongest first.

    Args:
        examples: has `labels`, int64 (N,). If it has `fingerprint()`, its `kind` is the name of that; or it
            has `fingerprints`, as the examples of a .beton file have.
    """
    if isinstance(found := getattr(examples, "fingerprints", None), dict):
        return found
    own = getattr(examples, "fingerprint", None)
    source = {str(getattr(examples, "kind", "examples")): str(own())} if callable(own) else {}
    return {**source, "labels": labels_fingerprint(examples.labels)}


def same_examples(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Return whether two datasets hold the same examples, as far as fingerprints of the same kind can tell.

    One strong fingerprint in common is enough: two .beton files of one folder have different contents if
    only one has smaller images. Weak ones decide where no strong kind is known of both.
    """
    strong = [kind for kind in one if kind in other and kind not in WEAK]
    if strong:
        return any(one[kind] == other[kind] for kind in strong)
    weak = [kind for kind in WEAK if kind in one and kind in other]
    return all(one[kind] == other[kind] for kind in weak)


def check_data_of_run(shown: str, examples: Any, dataset_size: int, data: Mapping[str, str]) -> None:
    """Refuse examples that are not those that a run trained on: its scores belong to others.

    Args:
        shown: what a message calls the examples, such as "--images photos.zip".
        examples: see `fingerprints_of`.
        dataset_size: N of the run.
        data: fingerprints of the run's data, from its `stats()`; empty if an older version began it.

    Raises:
        UsageError: they are other examples.
    """
    advice = "give the source and split that the run trained on"
    if len(examples) != dataset_size:
        raise UsageError(
            f"{shown} holds {len(examples):,} images, but the run trained on {dataset_size:,}; {advice}"
        )
    if data and not same_examples(data, fingerprints_of(examples)):
        raise UsageError(
            f"{shown} holds other images, or other labels, than the run trained on (their fingerprints "
            f"differ); {advice}"
        )
