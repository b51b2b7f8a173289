"""Write peer_references.npz: what the authors' own code of InfoBatch, SeTa and RCAP does with some losses.

    pip install datacull
    git clone https://github.com/NUS-HPC-AI-Lab/InfoBatch FOLDER/InfoBatch
    git clone https://github.com/mrazhou/SeTa FOLDER/SeTa
    python -m tests.selection.peer_references FOLDER

None of their code is in this repository: `test_peer_references.py` compares with these values. The file
names the commits, and the version of datacull, that it was made from.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_suffix(".npz")
DRAWS = 400  # of InfoBatch, so many that its frequencies say what its probabilities are
ANNEALED = (8, 10, 16)  # epochs of runs whose last ones have all data
SETA_EPOCHS = 64
GROUPS = 5

Arrays = dict[str, NDArray[Any]]


def module_of(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{file.stem}_of_its_authors", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def infobatch(authors: ModuleType) -> Arrays:
    """How often each of 1,000 examples is kept, its weight, and how many are kept in the epochs of a run."""
    import torch

    losses = np.random.default_rng(3).gamma(0.5, size=1000).astype(np.float32)
    theirs = authors.InfoBatch(range(1000), num_epochs=DRAWS, prune_ratio=0.5)
    theirs.scores = torch.from_numpy(losses)
    np.random.seed(0)
    kept, weights = np.zeros((DRAWS, 1000), bool), np.zeros(1000)
    for draw in range(DRAWS):
        indices = theirs.prune()
        kept[draw, indices] = True
        weights[indices] = theirs.weights.numpy()[indices]
    found = {
        "infobatch_losses": losses,
        "infobatch_often": kept.sum(axis=0),
        "infobatch_sizes": kept.sum(axis=1),
        "infobatch_weights": weights,
    }
    for epochs in ANNEALED:
        run = authors.InfoBatch(range(1000), num_epochs=epochs, prune_ratio=0.5)
        run.scores = torch.from_numpy(losses)
        sampler = run.sampler
        sizes = [len(list(iter(sampler).sample_indices)) for _ in range(epochs)]
        found[f"infobatch_sizes_of_{epochs}_epochs"] = np.array(sizes)
    return found


def seta(authors: ModuleType) -> Arrays:
    """Which groups of losses each epoch draws from, how many examples it draws, how often each is drawn."""
    import torch

    random = np.random.default_rng(1)
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(GROUPS), [400, 250, 200, 100, 50]))
    centres = np.array([0.01, 0.4, 1.0, 2.1, 4.0])  # any clustering finds these groups
    losses = (centres[groups] * random.uniform(0.97, 1.03, 1000)).astype(np.float32)
    theirs = authors.SeTa(range(1000), SETA_EPOCHS, prune_ratio=0.2, num_group=GROUPS, window_scale=0.6)
    theirs.scores = torch.from_numpy(losses)
    sampler = theirs.sampler
    torch.manual_seed(0)
    drawn = np.zeros((SETA_EPOCHS, 1000), bool)
    for epoch in range(SETA_EPOCHS):
        drawn[epoch, np.asarray(iter(sampler).sample_indices, np.int64)] = True
    windows = [np.isin(np.arange(GROUPS), groups[of_epoch]) for of_epoch in drawn]
    return {
        "seta_losses": losses,
        "seta_groups": groups,
        "seta_windows": np.array(windows),
        "seta_sizes": drawn.sum(axis=1),
        "seta_often": drawn.sum(axis=0),
    }


def rcap() -> Arrays:
    """The importance of each example within its class, and how many of each class are kept at first."""
    from datacull.data import DCDataset
    from datacull.logger import DCLogger
    from datacull.methods.RCAP import RCAPDataLoader, RCAPImportance

    random = np.random.default_rng(0)
    labels = random.choice(4, 1000, p=[0.5, 0.3, 0.15, 0.05])
    losses = (random.gamma(0.7, size=1000) * (1 + labels)).astype(np.float32)

    class Labelled:
        targets = labels

        def __len__(self) -> int:
            return len(labels)

    wrapped = DCDataset(Labelled())
    with tempfile.TemporaryDirectory() as folder:
        importance = RCAPImportance(
            wrapped, DCLogger(trajectory_dir=f"{folder}/", save_every_k_epoch=1), beta=0.5
        )
        loader = RCAPDataLoader(wrapped, pruning_rate=0.2)  # which is how much it keeps
        kept = loader.compute_subset(importance.compute_importance())
        importance.extract_trajectory_segment = lambda _: [losses.tolist()]
        return {
            "rcap_losses": losses,
            "rcap_labels": labels,
            "rcap_kept_at_first": np.bincount(labels[kept], minlength=4),
            "rcap_importance": importance.compute_importance(),
        }


def commit_of(checkout: Path) -> str:
    git = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()


def main(peers: Path) -> None:
    made_from = {name: commit_of(peers / name) for name in ("InfoBatch", "SeTa")}
    made_from["datacull"] = version("datacull")
    arrays = {
        **infobatch(module_of(peers / "InfoBatch" / "infobatch" / "infobatch.py")),
        **seta(module_of(peers / "SeTa" / "seta.py")),
        **rcap(),
    }
    names = " ".join(f"{name}={what}" for name, what in made_from.items())
    np.savez_compressed(FILE, made_from=names, **arrays)
    print(f"{FILE}: {names}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
