"""A training step through `Pruner`, compared with the same step made of its parts.

A step is loading, forward pass, backward pass, the last layer's scores, push and SGD. Both have a network, a
store and a loader of their own, and the same examples. One thread runs, and the times are CPU times.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import sadp_dist
from benchmarks.result import Options, Ratio, Result, Table
from benchmarks.timing import in_turns, median_ratio
from sadp_dist.loading import PruningSampler
from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.snn import build_network

HAND, PRUNER = "by hand", "through Pruner"
GOAL = 1.01


def small_cnn() -> nn.Module:
    """Return a spiking network with logits [T, B, 10]."""
    return build_network("small_cnn", num_classes=10, image_size=32, time_steps=4)


class Linear(nn.Module):
    """One layer, whose step is almost only overhead."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 8 * 8, 10)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images.flatten(1))
        return logits[None]


def losses_of(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(network(x).mean(0), y, reduction="none")


def by_hand(network: nn.Module, images: Tensor, labels: Tensor, batch: int) -> Iterator[None]:
    """Yield after each step, without an end."""
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    pruning = sadp_dist.PruningConfig(method="sadp-plus", ratio=0.5, epochs=1_000)
    store = sadp_dist.connect("memory:", run="by hand", dataset_size=len(images), pruning=pruning)
    sampler = PruningSampler(store, batch)
    dataset = TensorDataset(images, labels, torch.arange(len(images)))
    loader, scorer = DataLoader(dataset, batch, sampler=sampler), SpikeAwareScorer(network)
    for epoch in range(1_000):
        sampler.set_epoch(epoch)
        for x, y, index in loader:
            weights = sampler.weights(index)
            with scorer:
                sadp_dist.weighted_mean(losses_of(network, x, y), weights).backward()
            store.push(index, scorer.scores(weights / len(index)), epoch=epoch, valid=weights > 0)
            optimizer.step()
            optimizer.zero_grad()
            yield


def through_pruner(network: nn.Module, images: Tensor, labels: Tensor, batch: int) -> Iterator[None]:
    """Yield after each step, without an end."""
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    pruner = sadp_dist.Pruner(network, TensorDataset(images, labels), ratio=0.5, epochs=1_000)
    loader = pruner.loader(batch)
    for _ in pruner.epochs():
        for x, y in loader:
            with pruner.step():
                pruner.mean(losses_of(network, x, y)).backward()
            optimizer.step()
            optimizer.zero_grad()
            yield


def measured(
    build: Callable[[], nn.Module], side: int, batch: int, turns: int, in_a_turn: int = 1
) -> dict[str, list[float]]:
    """Return the seconds of a step in each turn, by the way it is made; all steps are of one epoch."""
    size = 2 * batch * (turns + 2) * in_a_turn
    images, labels = torch.rand(size, 3, side, side), torch.randint(10, (size,))
    steps = {}
    for name, make in ((HAND, by_hand), (PRUNER, through_pruner)):
        torch.manual_seed(0)
        steps[name] = make(build(), images, labels, batch)

    def turn(of: Iterator[None]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(in_a_turn):
                next(of)

        return run

    actions = {name: turn(of) for name, of in steps.items()}
    seconds = in_turns(actions, turns, clock=time.process_time)
    return {name: [each / in_a_turn for each in times] for name, times in seconds.items()}


def measure(options: Options) -> Result:
    """See the module."""
    torch.set_num_threads(1)
    short = options.short
    cases = {
        "small_cnn, 32x32, batch 16": measured(small_cnn, 32, 16, 41 if short else 201),
        "one linear layer, 8x8, batch 64": measured(Linear, 8, 64, 21 if short else 101, in_a_turn=20),
    }
    rows = []
    for name, seconds in cases.items():
        hand, pruner = (1e3 * statistics.median(seconds[way]) for way in (HAND, PRUNER))
        ratio = f"{median_ratio(seconds[PRUNER], seconds[HAND]):.3f}"
        rows.append([name, hand, pruner, ratio, f"{1e3 * (pruner - hand):.0f}"])
    columns = ["network", f"{HAND}, ms", f"{PRUNER}, ms", "relative to by hand", "difference, µs"]
    title = "Training step, T = 4, one CPU thread"
    seconds = next(iter(cases.values()))
    ratio = median_ratio(seconds[PRUNER], seconds[HAND])
    return Result(
        [Table(title, columns, rows)],
        [Ratio(f"{PRUNER} / {HAND}, step of small_cnn", ratio, "lower", GOAL, slack=1.5)],
    )
