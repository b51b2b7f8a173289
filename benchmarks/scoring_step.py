"""What scores cost: a training step of Spiking ResNet18 (32x32, T = 4) with them against one without.

python -m benchmarks.scoring_step [--short] [--json FILE]

The kinds of step take turns, each round in another order, and a ratio is the median of the ratios within
the rounds: a machine that grows warm or busy slows all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.nn.functional import cross_entropy

from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.snn import build_network

KINDS: dict[str, dict[str, Any] | None] = {
    "no scores": None,
    "last layer": {"layers": "last"},
    "last layer, exact": {"layers": "last", "exact": True},
    "all layers": {"layers": "all"},
}
TARGETS = {"last layer": 1.01, "all layers": 1.08}


class Step:
    """One training step: forward, backward, scores if asked for, SGD."""

    def __init__(self, batch: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.device = device
        self.network = build_network("spiking_resnet18", num_classes=10, time_steps=4).to(device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-3, momentum=0.9)
        self.images = torch.rand(batch, 3, 32, 32, device=device)
        self.labels = torch.randint(10, (batch,), device=device)
        self.coefficients = torch.full((batch,), 1 / batch, device=device)

    def seconds(self, kind: dict[str, Any] | None) -> float:
        # A fresh scorer each time, so that a step without scores has no hooks at all.
        scorer = None if kind is None else SpikeAwareScorer(self.network, **kind)
        start = self.now()
        self.optimizer.zero_grad()
        with scorer or nullcontext():
            losses = cross_entropy(self.network(self.images).mean(0), self.labels, reduction="none")
            (self.coefficients * losses).sum().backward()
        if scorer is not None:
            scorer.scores(self.coefficients)
        self.optimizer.step()
        return self.now() - start

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def measure(batch: int, rounds: int, device: torch.device) -> dict[str, Any]:
    step = Step(batch, device)
    seconds: dict[str, list[float]] = {name: [] for name in KINDS}
    for kind in KINDS.values():
        step.seconds(kind)
    names = list(KINDS)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(step.seconds(KINDS[name]))
    base = seconds["no scores"]
    on_cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if on_cuda else f"CPU with {torch.get_num_threads()} threads",
        "load": os.getloadavg()[0],
        "batch": batch,
        "rounds": rounds,
        "kinds": {
            name: summary(taken, [a / b for a, b in zip(taken, base, strict=True)])
            for name, taken in seconds.items()
        },
    }


def summary(seconds: list[float], ratios: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {"seconds": statistics.median(seconds), "ratio": middle, "quartile1": low, "quartile3": high}


def table(result: dict[str, Any]) -> Table:
    title = "Spiking ResNet18, 32x32, T = 4, batch {batch}, {device}, {rounds} rounds".format(**result)
    table = Table("", "step", "ratio", "quartiles", "target", title=title)
    for name, figures in result["kinds"].items():
        table.add_row(
            name,
            f"{figures['seconds'] * 1e3:,.1f} ms",
            f"{figures['ratio']:.3f}",
            f"{figures['quartile1']:.3f} to {figures['quartile3']:.3f}",
            f"<= {TARGETS[name]}" if name in TARGETS else "",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--short", action="store_true", help="few rounds of small batches: a check, not a figure"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = 128 if device.type == "cuda" else 16
    result = measure(4, 3, device) if arguments.short else measure(batch, 24, device)
    Console().print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
