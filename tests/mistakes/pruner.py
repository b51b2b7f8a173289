"""Mistakes with a `Pruner`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from sadp_dist import Pruner
from tests.mistakes.case import Table

PRUNER = Table()
DATASET = TensorDataset(torch.rand(42, 3))


def run_of(**options: object) -> tuple[torch.nn.Module, Pruner]:
    model = torch.nn.Linear(3, 1)
    return model, Pruner(model, DATASET, epochs=6, **options)


def step(batches: int = 1, mean: bool = True) -> Tensor | None:
    """Read batches, then take a step with the last of them; return its loss if it is asked for."""
    model, pruner = run_of()
    loader = pruner.loader(5)
    for _ in pruner.epochs():
        for number, (x,) in enumerate(loader, 1):
            if number == batches:
                with pruner.step():
                    return pruner.mean(model(x).square().sum(1)) if mean else None
    raise AssertionError("there are fewer batches")


@PRUNER.row("`pruner.loader(shuffle=True)`, or a sampler", "the plan chooses the examples and their order")
def _(folder: Path) -> None:
    run_of()[1].loader(5, shuffle=True)


@PRUNER.row("`pruner.loader(drop_last=True)`", "the weights count on every example of the plan")
def _(folder: Path) -> None:
    run_of()[1].loader(5, drop_last=True)


@PRUNER.row("the loader is read outside of `pruner.epochs()`", "there is no plan to read")
def _(folder: Path) -> None:
    list(run_of()[1].loader(5))


@PRUNER.row("`pruner.mean` is not called", "the loss would not be weighted")
def _(folder: Path) -> None:
    step(mean=False)


@PRUNER.row("`backward()` is called after `with pruner.step():`", "the scores are read in the backward pass")
def _(folder: Path) -> None:
    step()


@PRUNER.row("a prefetcher around the loader", "weights and scores would go to the wrong examples")
def _(folder: Path) -> None:
    step(batches=2)


@PRUNER.row('`method="forgetting"`', "its score is computed from the network's outputs, which are not known")
def _(folder: Path) -> None:
    run_of(method="forgetting")


@PRUNER.row("`epochs` is left out", "the ratio of an epoch depends on the number of epochs")
def _(folder: Path) -> None:
    Pruner(torch.nn.Linear(3, 1), DATASET, ratio=0.5)


@PRUNER.row("an `IterableDataset`", "its examples have no index, so they cannot be chosen")
def _(folder: Path) -> None:
    class Stream(torch.utils.data.IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return iter(range(42))

    Pruner(torch.nn.Linear(3, 1), Stream(), epochs=6)
