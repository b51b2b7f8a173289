"""Mistakes in a training loop of one's own."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import torch
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

import sadp_dist
from sadp_dist import PruningConfig
from sadp_dist.loading import PruningSampler
from sadp_dist.store import Store
from sadp_dist.store.client.collective import Collective
from tests.mistakes.case import Table

LOOP = Table()
N = 42
DATASET = TensorDataset(torch.arange(N))


def run_of(world_size: int = 1, **pruning: object) -> tuple[Store, PruningSampler]:
    options = {"ratio": 0.5, "epochs": 6, "min_probability": 0.1, **pruning}
    store = sadp_dist.connect("memory:", run="x", dataset_size=N, pruning=PruningConfig(**options))
    return store, PruningSampler(store, 5, rank=0, world_size=world_size)


def train(
    world_size: int = 1,
    epochs: int = 2,
    weights: bool = True,
    push: int = N,
    batches: int = N,
    drop_last: bool = False,
) -> None:
    """Train, and go to the next epoch.

    Args:
        world_size: number of ranks; this is rank 0.
        epochs: to train.
        weights: whether the loop asks for the weights.
        push: number of batches whose scores are pushed.
        batches: number of batches to train on.
        drop_last: as in DataLoader.
    """
    store, sampler = run_of(world_size)
    loader = DataLoader(DATASET, 5, sampler=sampler, drop_last=drop_last)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for number, (index,) in enumerate(loader):
            if number == batches:
                break
            kept = sampler.weights(index) > 0 if weights else None
            if number < push:
                store.push(index, torch.linspace(1, 2, len(index)), epoch=epoch, valid=kept)
    sampler.set_epoch(epochs)


@LOOP.row("the loss is a mean already", "weights times a scalar weight nothing")
def _(folder: Path) -> None:
    sadp_dist.weighted_mean(torch.tensor(0.7), torch.ones(5))


@LOOP.row("the loop ends early", "the weights count on every example of the share")
def _(folder: Path) -> None:
    train(batches=2)


@LOOP.row("`drop_last=True`", "the weights count on every example of the share")
def _(folder: Path) -> None:
    train(drop_last=True)


@LOOP.row("the loader is split over the ranks again", "each rank would train on a part of its share")
def _(folder: Path) -> None:
    train(world_size=2, batches=1, epochs=1, push=1)


@LOOP.row(
    "`accelerator.prepare(loader)` with several processes", "each rank would train on a part of its share"
)
def _(folder: Path) -> None:
    from accelerate.data_loader import BatchSamplerShard

    _, sampler = run_of(world_size=2)
    sampler.set_epoch(0)
    list(BatchSamplerShard(BatchSampler(sampler, 5, False), num_processes=2, process_index=0))


@LOOP.row("the weights are never used, and are not all 1", "the network trains on another distribution")
def _(folder: Path) -> None:
    train(weights=False)


@LOOP.row("scores are never pushed", "the next plan knows only old scores, or none")
def _(folder: Path) -> None:
    train(push=0)


@LOOP.row("scores of some batches are not pushed", "the next plan knows only old scores of the others")
def _(folder: Path) -> None:
    train(push=2)


@LOOP.row("`set_epoch` is never called", "there is no plan to read")
def _(folder: Path) -> None:
    _, sampler = run_of()
    list(sampler)


@LOOP.row("an epoch is read again without `set_epoch`", "every pass trains on the same examples")
def _(folder: Path) -> None:
    _, sampler = run_of()
    sampler.set_epoch(0)
    loader = DataLoader(DATASET, 5, sampler=sampler)
    for _ in range(2):
        list(loader)


@LOOP.row("`set_epoch` of an epoch that is over", "its plan would use scores that came after it")
def _(folder: Path) -> None:
    _, sampler = run_of()
    sampler.set_epoch(3)
    sampler.set_epoch(2)


@LOOP.row("`push` for an epoch outside of the run", "such a score would count as the latest for ever")
def _(folder: Path) -> None:
    store, _ = run_of()
    store.push([1], [0.5], epoch=6)


@LOOP.row("`push` of a score that is not a number", "it would spoil the probabilities of all examples")
def _(folder: Path) -> None:
    store, _ = run_of()
    store.push([1], [float("nan")], epoch=0)


@LOOP.row("ranks with different `batch_size`", "the ranks would wait for each other at the end")
def _(folder: Path) -> None:
    class TwoRanks(Collective):
        def __init__(self) -> None:
            """Nobody else is here."""

        def agree(self, call, step):  # type: ignore[no-untyped-def]
            return [5, 6]

    TwoRanks().same("set_epoch", "batch_size", 5)


@LOOP.row("a share that rounds to 0 examples", "the run trains on nothing")
def _(folder: Path) -> None:
    run_of(ratio=0.99)


@LOOP.row("a share that rounds to 0 examples in some epochs", "such an epoch trains on nothing")
def _(folder: Path) -> None:
    run_of(ratio=0.99, max_ratio=0.995)


@LOOP.row("Lightning: a step schedule of another length", "epochs get shorter, so it would never end")
def _(folder: Path) -> None:
    import lightning

    from sadp_dist.integrations.lightning import SpikeAwarePruning

    pruning = SpikeAwarePruning(PruningConfig(ratio=0.5, epochs=2, min_probability=0.1), N)

    class Network(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 2)

        def train_dataloader(self) -> DataLoader[tuple[torch.Tensor, ...]]:
            return DataLoader(DATASET, batch_sampler=pruning.batch_sampler(5))

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            losses = self.layer(batch[0][:, None].float()).sum(1)
            return sadp_dist.weighted_mean(losses, pruning.weights(batch[0]))

        def configure_optimizers(self) -> tuple[list[object], list[object]]:
            optimizer = torch.optim.SGD(self.parameters(), 1e-9)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-9, epochs=2, steps_per_epoch=9)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_epochs=2, callbacks=[pruning], enable_model_summary=False, **quiet)
    trainer.fit(Network())


@LOOP.row("`store.push` in a worker of the loader", "a worker has a copy of the store, which is lost with it")
def _(folder: Path) -> None:
    store, _ = run_of()
    with multiprocessing.get_context("fork").Pool(1, _keep, [store]) as workers:
        workers.apply(_push_in_worker)


_kept: list[Store] = []


def _keep(store: Store) -> None:
    _kept.append(store)


def _push_in_worker() -> None:
    _kept[0].push(torch.tensor([0]), torch.tensor([1.0]), epoch=0)
