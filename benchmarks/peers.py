"""What other projects do between two epochs: their own programs, from checkouts beside this one.

Each function returns a call that does the work of one rank once and returns that rank's indices and weights.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Between = Callable[[], tuple[Any, Any]]


def infobatch(peers: Path | None, scores: NDArray[np.float32], kept: float, ranks: int) -> Between | None:
    """InfoBatch (Qin et al., ICLR 2024): prune, then its sampler's shuffled order for one of several ranks.

    Its ratio applies to the examples below the mean, which are more than half. The ratio is set so that the
    requested number of examples is kept. None without a checkout.
    """
    if not _found(peers, "InfoBatch", "infobatch"):
        return None
    from infobatch.infobatch import DistributedIBSampler, IBSampler, InfoBatch

    below = float(np.mean(scores < scores.mean(dtype=np.float64)))
    dataset = InfoBatch(range(len(scores)), num_epochs=1_000_000, prune_ratio=(1 - kept) / below)
    dataset.scores = torch.from_numpy(scores)
    sampler = DistributedIBSampler(IBSampler(dataset), num_replicas=ranks, rank=0)

    def between() -> tuple[Any, Any]:
        indices = list(sampler)
        return indices, dataset.get_weights(indices)

    return between


def seta(peers: Path | None, scores: NDArray[np.float32], kept: float) -> Between | None:
    """SeTa (Zhou et al., CVPR 2025): prune, by one process and without weights. None without a checkout.

    Its first call keeps all examples that the ratio draws; its later, sliding window keeps half of them.
    """
    if not _found(peers, "SeTa", "seta"):
        return None
    from seta import SeTa

    dataset = SeTa(range(len(scores)), num_epochs=1_000_000, prune_ratio=1 - kept)
    dataset.scores = torch.from_numpy(scores)

    def between() -> tuple[Any, Any]:
        with contextlib.redirect_stdout(io.StringIO()):
            return dataset.prune(), None

    return between


def rcap(scores: NDArray[np.float32], labels: NDArray[np.integer], kept: float) -> Between | None:
    """RCAP (Hassan et al., UAI 2025), from the package datacull: importances, then a draw class by class.

    It gets its losses in memory instead of from files of JSON lines. It has no weights, and its "pruning
    rate" is the share that it keeps. None if it is not installed.
    """
    if find_spec("datacull") is None:
        return None
    from datacull import DCDataset, RCAPDataLoader, RCAPImportance

    class Labelled(torch.utils.data.Dataset):
        targets = labels

        def __len__(self) -> int:
            return len(scores)

    dataset = DCDataset(Labelled())
    logger = SimpleNamespace(trajectory_dir=tempfile.gettempdir(), save_every_k_epoch=1)
    importance = RCAPImportance(dataset, logger, beta=1.0, clipping_threshold=float(scores.max()))
    loader = RCAPDataLoader(dataset, pruning_rate=kept, batch_size=1)

    def between() -> tuple[Any, Any]:
        importance.epoch, importance.sample_losses = -1, scores.astype(float)
        loader.resample(importance.compute_importance())
        return loader.subset_indices, None

    return between


def _found(peers: Path | None, folder: str, module: str) -> bool:
    """Return whether the module is installed or has a checkout; this makes it importable."""
    if peers is not None and (peers / folder).is_dir():
        sys.path.insert(0, str(peers / folder))
    return find_spec(module) is not None
