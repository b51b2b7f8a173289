"""Fingerprints of a run's data, and the record of them in the run's directory.

Data that was moved keeps its fingerprint. Data that was changed, or another split of it, has another one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sadp_dist.atomic_write import atomic_write
from sadp_dist.data.fingerprints import fingerprints_of

if TYPE_CHECKING:
    from sadp_dist.data.config import DataConfig

DATA_FILE = "data.json"
"""Where a run writes the fingerprints of its data, in its directory."""

Role = Literal["train", "test"]


def data_fingerprint(config: DataConfig, role: Role) -> str:
    """Return the fingerprint of a run's training or test data, as "kind:hexadecimal digits".

    It does not depend on the path. The same fingerprint means the same examples in the same order with the
    same labels, as far as its kind can tell: "content" for a .beton file ("sizes" if an older version wrote
    it), the source's own for folders, archives and parquet files, or "labels".

    Raises:
        UsageError: the data does not exist or cannot be read.
    """
    kind, digits = next(iter(data_fingerprints(config, role).items()))
    return f"{kind}:{digits}"


def data_fingerprints(config: DataConfig, role: Role) -> dict[str, str]:
    """Return all fingerprints of a run's training or test data by kind, the strongest first.

    Raises:
        UsageError: the data does not exist or cannot be read.
    """
    if config.loader == "ffcv":
        from sadp_dist.loading import beton_fingerprints

        return beton_fingerprints(getattr(config, role))
    from sadp_dist.training.datasets import open_source

    return fingerprints_of(open_source(config, role))


def record_data(run_dir: Path, fingerprints: dict[str, dict[str, str]]) -> None:
    """Write the fingerprints of "train" and "test", by kind, to the directory of a run."""
    with atomic_write(run_dir / DATA_FILE) as temporary:
        temporary.write_text(json.dumps(fingerprints, indent=1) + "\n", encoding="utf-8")


def recorded_data(run_dir: Path) -> dict[str, dict[str, str]] | None:
    """Return what `record_data` wrote; None for a run of an older version, or if the file is damaged."""
    try:
        found = json.loads((run_dir / DATA_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and all(isinstance(found.get(role), dict) for role in ("train", "test"))
    return found if whole else None
