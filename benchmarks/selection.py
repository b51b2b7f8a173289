"""Time of the selection probabilities and of the whole plan of an epoch, at ImageNet's size.

    python -m benchmarks.selection [--short] [--json FILE]

What is compared is timed in turns, in one thread, by its processor time, to which other work on the machine
adds only what it takes of the cache. The figure is the median over the turns; beside it is the fastest turn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import thread_time

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from sadp_dist.selection import PruningConfig, Shard, plan_epoch, selection_probabilities
from sadp_dist.selection.part import Part
from sadp_dist.selection.parts import LocalParts
from sadp_dist.selection.random import Stream, stream_key
from sadp_dist.selection.reference import sorted_probabilities
from sadp_dist.selection.rules import RULES
from sadp_dist.selection.sampling import draw_parts
from sadp_dist.selection.sharding import join

N = 1_281_167  # ImageNet
KEPT = 0.65
RANKS = 8
GOALS = {"sorted form / fused passes": ">= 10", "plan / read and write": "<= 8"}
PLANNING = PruningConfig(ratio=1 - KEPT, min_probability=0.25, scheme="systematic", seed=1)


def masked_probabilities(scores: NDArray[np.floating], subset_size: float) -> NDArray[np.float64]:
    """Eq. 28 as it is written: numpy arrays, and a set R that is indexed anew in every round."""
    p = np.ones(len(scores))
    R = np.arange(len(scores))
    while True:
        G = scores[R]
        p[R] = G * ((subset_size - len(scores) + len(R)) / G.sum(dtype=np.float64))
        capped = p[R] >= 1
        if not capped.any():
            return p
        p[R[capped]] = 1
        R = R[~capped]


def plan_and_shard(scores: NDArray[np.float32]) -> list[Shard]:
    """The whole plan of an epoch, as every rank gets it."""
    plan = plan_epoch(scores, 0, PLANNING)
    return [plan.shard(rank, RANKS) for rank in range(RANKS)]


class Stations:
    """The plan of an epoch one step at a time: what each costs."""

    def __init__(self, scores: NDArray[np.float32]) -> None:
        self.scores = scores
        self.S = round(KEPT * len(scores))
        self.order_key = stream_key(PLANNING.seed, 0, Stream.SHUFFLE)
        self.parts = LocalParts([Part(scores)])
        self.run_all()

    def run_all(self) -> None:
        for step in self.steps().values():
            step()

    def steps(self) -> dict[str, Callable[[], object]]:
        return {
            "probabilities": self.decide,
            "draw": self.draw,
            "shuffle and weights": self.keep,
            "shards": self.shard,
        }

    def decide(self) -> None:
        self.probability, _ = RULES["sadp"].probability(self.parts, self.S, PLANNING)

    def draw(self) -> None:
        self.drawn = draw_parts(self.parts, self.probability, PLANNING.seed, 0, PLANNING.scheme, "none")

    def keep(self) -> None:
        share = self.S / len(self.scores)
        (self.count,) = self.parts.each("keep", 0, self.drawn, self.order_key, self.probability, share)

    def shard(self) -> None:
        self.shards = [join(self.parts.each("shard", 0, rank, RANKS, self.count)) for rank in range(RANKS)]

    def arrays(self) -> list[NDArray]:
        """What a plan reads and works out; of the probabilities there is only a block at a time."""
        whole = join(self.parts.each("drawn", 0))
        return [
            self.scores,
            self.probability(self.scores),
            *whole,
            *(a for shard in self.shards for a in shard),
        ]


def check(scores: NDArray[np.float32], stations: Stations) -> None:
    """Raise unless all that is timed gives the same."""
    S = KEPT * len(scores)
    expected = sorted_probabilities(scores, S)
    np.testing.assert_allclose(selection_probabilities(scores, S), expected, rtol=1e-9)
    np.testing.assert_allclose(masked_probabilities(scores, S), expected, rtol=1e-5)  # float32 products
    for whole, stepped in zip(plan_and_shard(scores), stations.shards, strict=True):
        np.testing.assert_array_equal(whole.indices, stepped[0])
        np.testing.assert_array_equal(whole.weights, stepped[1])


def measure(turns: int) -> dict[str, list[float]]:
    """Milliseconds of every turn."""
    scores = np.random.default_rng(0).lognormal(size=N).astype(np.float32)
    S = KEPT * N
    stations = Stations(scores)
    check(scores, stations)
    arrays = stations.arrays()
    copies = [np.empty_like(array) for array in arrays]

    def read_and_write() -> None:
        for copy, array in zip(copies, arrays, strict=True):
            np.copyto(copy, array)

    probabilities: dict[str, Callable[[], object]] = {
        "fused passes": lambda: selection_probabilities(scores, S),
        "sorted form": lambda: sorted_probabilities(scores, S),
        "Eq. 28 as written": lambda: masked_probabilities(scores, S),
    }
    plans: dict[str, Callable[[], object]] = {
        "plan": lambda: plan_and_shard(scores),
        "read and write": read_and_write,
        "read and write, new memory": lambda: [array.copy() for array in arrays],
        **{f"plan: {name}": step for name, step in stations.steps().items()},
    }
    times: dict[str, list[float]] = {name: [] for name in probabilities | plans}
    for timed in (probabilities, plans):  # what is compared takes turns
        for _ in range(turns):
            for name, function in timed.items():
                start = thread_time()
                function()
                times[name].append(1e3 * (thread_time() - start))
    return times


def ratios_of(ms: dict[str, float]) -> dict[str, float]:
    """The figures, each a ratio in one run."""
    return {
        "sorted form / fused passes": ms["sorted form"] / ms["fused passes"],
        "Eq. 28 as written / fused passes": ms["Eq. 28 as written"] / ms["fused passes"],
        "plan / read and write": ms["plan"] / ms["read and write"],
        "plan / read and write, new memory": ms["plan"] / ms["read and write, new memory"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="9 turns instead of 51")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    arguments = parser.parse_args()
    times = measure(turns=9 if arguments.short else 51)
    medians = {name: median(taken) for name, taken in times.items()}
    fastest = {name: min(taken) for name, taken in times.items()}
    ratios, best_ratios = ratios_of(medians), ratios_of(fastest)

    console = Console()
    table = Table(title=f"Milliseconds: N = {N:,} lognormal scores, S = {KEPT} N, {RANKS} ranks")
    for heading in ("what", "median", "fastest"):
        table.add_column(heading)
    for name in times:
        table.add_row(name, f"{medians[name]:.2f}", f"{fastest[name]:.2f}")
    console.print(table)
    table = Table("ratio", "of medians", "of fastest", "goal")
    for name, ratio in ratios.items():
        table.add_row(name, f"{ratio:.1f}", f"{best_ratios[name]:.1f}", GOALS.get(name, ""))
    console.print(table)
    if ratios["plan / read and write"] > 8:
        steps = sorted((name for name in times if name.startswith("plan: ")), key=medians.__getitem__)
        console.print(f"The plan is over its goal; most of it goes to {steps[-1][6:]} and {steps[-2][6:]}.")
    if arguments.json:
        figures = {
            "median_ms": medians,
            "fastest_ms": fastest,
            "ratios": ratios,
            "fastest_ratios": best_ratios,
        }
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
