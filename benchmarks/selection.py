"""Selection and planning at ImageNet's size, compared with other projects.

Three ways to compute the selection probabilities are compared: the one of this project, which passes over
the scores once per round, a form that sorts the scores, and the paper's Eq. 28 as it is written. The whole
plan of an epoch is compared with a copy of the arrays that it reads and writes, and with the work of
InfoBatch, SeTa and RCAP between two epochs. Times are CPU times of all threads, which other work on the
machine hardly changes. Only the comparison with other projects uses wall time.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import process_time

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.result import Cell, Options, Ratio, Result, Table
from benchmarks.sorted_form import sorted_probabilities
from benchmarks.timing import in_turns, median_ratio
from sadp_dist.selection import PruningConfig, ScoreTable, Shard, plan_epoch, selection_probabilities
from sadp_dist.selection.passes import thread_count
from sadp_dist.selection.plan import shard
from sadp_dist.selection.random import Stream, shuffled, stream_key

N = 1_281_167  # ImageNet
KEPT = 0.65
RANKS = 8
PLANNING = PruningConfig(ratio=1 - KEPT, min_probability=0.25, scheme="systematic", seed=1)


def masked_probabilities(scores: NDArray[np.floating], subset_size: float) -> NDArray[np.float64]:
    """Compute Eq. 28 as written, with NumPy arrays and a set R that is indexed again in every round."""
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
    """Return the whole plan of an epoch and the shard of every rank."""
    plan = plan_epoch(scores, 0, PLANNING)
    return [plan.shard(rank, RANKS) for rank in range(RANKS)]


class Stages:
    """The steps of a plan, to time each of them."""

    def __init__(self, scores: NDArray[np.float32]) -> None:
        self.scores = scores
        self.S = round(KEPT * len(scores))
        self.order_key = stream_key(PLANNING.seed, 0, Stream.SHUFFLE)
        self.table = ScoreTable.of_scores(scores)
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
        self.p = PLANNING.rule.probabilities(self.table, self.S, 0)

    def draw(self) -> None:
        self.drawn = PLANNING.rule.draw(self.table, self.p, 0)

    def keep(self) -> None:
        self.indices = shuffled(self.drawn, len(self.scores), self.order_key)
        self.weights = PLANNING.rule.weights(self.table, self.indices, self.p, self.S, 0)

    def shard(self) -> None:
        self.shards = [shard(self.indices, self.weights, rank, RANKS) for rank in range(RANKS)]

    def arrays(self) -> list[NDArray]:
        """The arrays that a plan reads and writes."""
        return [self.scores, self.indices, self.weights, *(array for shard in self.shards for array in shard)]


def check(scores: NDArray[np.float32], stages: Stages) -> None:
    """Raise unless all timed methods agree."""
    S = KEPT * len(scores)
    expected = sorted_probabilities(scores, S)
    np.testing.assert_allclose(selection_probabilities(scores, S), expected, rtol=1e-9)
    np.testing.assert_allclose(masked_probabilities(scores, S), expected, rtol=1e-5)  # float32 products
    for whole, stepped in zip(plan_and_shard(scores), stages.shards, strict=True):
        np.testing.assert_array_equal(whole.indices, stepped[0])
        np.testing.assert_array_equal(whole.weights, stepped[1])


def measure(options: Options) -> Result:
    """Measure medians over turns."""
    turns = 7 if options.short else 31
    chance = np.random.default_rng(0)
    scores = chance.lognormal(size=N).astype(np.float32)
    S = KEPT * N
    stages = Stages(scores)
    check(scores, stages)
    arrays = stages.arrays()
    copies = [np.empty_like(array) for array in arrays]

    def read_and_write() -> None:
        for copy, array in zip(copies, arrays, strict=True):
            np.copyto(copy, array)

    forms = in_turns(
        {
            "one pass per round": lambda: selection_probabilities(scores, S),
            "sorted form": lambda: sorted_probabilities(scores, S),
            "Eq. 28 as written": lambda: masked_probabilities(scores, S),
        },
        turns,
        clock=process_time,
    )
    plans = in_turns(
        {
            "plan": lambda: plan_and_shard(scores),
            "copy of the same arrays": read_and_write,
            "copy of the same arrays, into new memory": lambda: [array.copy() for array in arrays],
            **stages.steps(),
        },
        turns,
        clock=process_time,
    )
    between = {"InfoBatch": peers.infobatch(options.peers, scores, KEPT, RANKS)}
    if not options.short:  # these take seconds, and most of a minute
        between["RCAP"] = peers.rcap(scores, chance.integers(0, 1000, N), KEPT)
        between["SeTa"] = peers.seta(options.peers, scores, KEPT)
    beside: dict[str, tuple[list[float], list[float]]] = {}
    for name, theirs in between.items():
        if theirs is None:
            continue
        its_turns = 2 if options.short else {"InfoBatch": 11, "RCAP": 5, "SeTa": 1}[name]
        both = in_turns(
            {"plan": lambda: plan_and_shard(scores), name: theirs}, its_turns, warm_up=name == "InfoBatch"
        )
        beside[name] = both[name], both["plan"]
    return Result(
        [
            _seconds(f"Selection probabilities: N = {N:,} lognormal scores, subset of {KEPT} N", forms),
            _seconds(
                f"The plan of an epoch with its shards for {RANKS} ranks: total, and each step",
                plans,
                "The copies have the size of the arrays that a plan reads and writes. A plan needs new "
                "memory for its arrays.",
            ),
            _peers(beside),
        ],
        [
            Ratio(
                "sorted form / one pass per round",
                median_ratio(forms["sorted form"], forms["one pass per round"]),
                "higher",
                goal=10,  # not compared: NumPy sorts five times as fast with AVX-512 of some processors
            ),
            Ratio(
                "Eq. 28 as written / one pass per round",
                median_ratio(forms["Eq. 28 as written"], forms["one pass per round"]),
                "higher",
                slack=2,
            ),
            Ratio(
                "plan / copy of the same arrays",
                median_ratio(plans["plan"], plans["copy of the same arrays"]),
                "lower",
                goal=8,
                slack=2,
            ),
            *(
                Ratio(f"{name} / plan", median_ratio(*seconds), "higher", 8 if name == "InfoBatch" else None)
                for name, seconds in beside.items()
            ),
        ],
    )


def _seconds(title: str, seconds: dict[str, list[float]], note: str = "") -> Table:
    rows = [[name, 1e3 * median(taken), 1e3 * min(taken)] for name, taken in seconds.items()]
    return Table(title, ["method or step", "CPU time, median, ms", "CPU time, minimum, ms"], rows, note)


def _peers(beside: dict[str, tuple[list[float], list[float]]]) -> Table:
    rows: list[list[Cell]] = []
    what = {
        "InfoBatch": "pruning, order and weights for one of 8 ranks",
        "RCAP": "importances and subset, without weights",
        "SeTa": "pruning, without weights",
    }
    for name, (theirs, ours) in beside.items():
        rows.append([name, what[name], 1e3 * median(theirs), 1e3 * median(ours), median_ratio(theirs, ours)])
    return Table(
        "Work between two epochs, compared with other projects",
        ["project", "work that is timed", "its time, ms", "this project's plan with 8 shards, ms", "ratio"],
        rows,
        "Each project's own code runs, for a subset of the same size. RCAP gets its losses in memory"
        f" instead of from JSON files. SeTa is timed once. The plan uses {thread_count()} "
        "threads.",
    )
