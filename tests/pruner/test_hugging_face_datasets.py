"""Hugging Face's map-style datasets are training data as they are, in every format."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

pytest.importorskip("datasets")

import datasets

from sadp_dist import Pruner
from sadp_dist.errors import UsageError

N = 40
GENERATOR = np.random.default_rng(0)
ROWS = {
    "x": GENERATOR.normal(size=(N, 3)).astype("float32").tolist(),
    "label": GENERATOR.integers(2, size=N).tolist(),
    "number": list(range(N)),
}


def stack(rows):
    return {name: torch.as_tensor(np.array([row[name] for row in rows])) for name in ROWS}


def chosen(rows):
    """Half of a dataset, as `Dataset.select` gives it: the indices of the new dataset count."""
    return rows.select(range(0, N, 2))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("prepare", "collate"),
    [
        (lambda rows: rows.with_format("torch"), None),
        (lambda rows: rows.with_format("numpy"), None),
        (lambda rows: rows.with_transform(lambda batch: {**batch, "x": torch.tensor(batch["x"])}), None),
        (lambda rows: rows, stack),
        (lambda rows: chosen(rows).with_format("torch"), None),
        (lambda rows: rows.train_test_split(0.25, seed=0)["train"].with_format("torch"), None),
    ],
    ids=["torch", "numpy", "transform", "rows", "select", "split"],
)
def test_each_planned_row_is_trained_on_once_an_epoch(prepare, collate, workers):
    rows = prepare(datasets.Dataset.from_dict(ROWS))
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    pruner = Pruner(model, rows, ratio=0.5, epochs=2)
    loader = pruner.loader(8, collate_fn=collate, num_workers=workers)
    numbers = np.asarray(rows.with_format("numpy")["number"])
    for epoch in pruner.epochs():
        seen = []
        for batch in loader:
            with pruner.step():
                losses = cross_entropy(model(batch["x"].float()), batch["label"], reduction="none")
                pruner.mean(losses).backward()
            seen += batch["number"].tolist()
        assert seen == numbers[pruner.sampler.shard.indices].tolist()
        assert len(seen) == len({*seen}) == len(rows) // 2
        assert pruner.store.stats().pushed_scores == (epoch + 1) * len(seen)


def test_a_streamed_dataset_is_refused():
    stream = datasets.Dataset.from_dict(ROWS).to_iterable_dataset()
    with pytest.raises(UsageError, match="dataset: IterableDataset is not map-style"):
        Pruner(nn.Linear(3, 2), stream, ratio=0.5, epochs=2)
