"""Cost of the scores in a training step.

A step is the forward pass, the backward pass, the scores and SGD. It has no loading and no store. Each row
has a network of its own, so a step without scores has no hooks. On the CPU, one thread runs, and the times
are CPU times, which other work on the machine hardly changes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchmarks.result import Options, Ratio, Result, Table
from benchmarks.timing import awaited, in_turns, median_ratio
from sadp_dist.selftest.step import Step

NONE, LAST, EXACT, ALL = "no scores", "last layer", "last layer, exact", "all layers"
KINDS: dict[str, dict[str, Any] | None] = {
    NONE: None,
    LAST: {"layers": "last"},
    EXACT: {"layers": "last", "exact": True},
    ALL: {"layers": "all"},
}
GOALS = {LAST: 1.01, ALL: 1.08}
TIME_STEPS = 4


def variants() -> dict[str, dict[str, Any]]:
    """Return ways to run a network: arguments of a `Step`."""
    return {
        "eager, fp32": {},
        "bf16 autocast": {"precision": "bf16"},
        "channels_last": {"channels_last": True},
        "SpikingJelly's memory optimisation": {"memopt": 1},
        "neurons by torch.compile": {"neurons": "inductor"},
        "network by torch.compile": {"compile": "default"},
    }


def step(network: str, batch: int, scoring: dict[str, Any] | None, **way: Any) -> Callable[[], Any]:
    """Return a step of images of 32x32 that waits for its device, which is a GPU if there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return awaited(Step(network, batch, scoring, device, time_steps=TIME_STEPS, **way))


def measure(options: Options) -> Result:
    """See the module."""
    on_gpu = torch.cuda.is_available()
    torch.set_num_threads(1)
    where = torch.cuda.get_device_name() if on_gpu else "one CPU thread"
    network, batch = ("spiking_resnet18", 128) if on_gpu else ("spiking_resnet18", 16)
    if options.short:
        network, batch = "small_cnn", 64
    kinds = {name: KINDS[name] for name in ((NONE, LAST, ALL) if options.short else KINDS)}
    steps = {name: step(network, batch, scoring) for name, scoring in kinds.items()}
    seconds = in_turns(steps, turns=9 if options.short else 25, clock=_clock())
    del steps
    ratios = [
        Ratio(f"{kind} / {NONE}, step", median_ratio(seconds[kind], seconds[NONE]), "lower", goal, slack=1.5)
        for kind, goal in GOALS.items()
    ]
    tables = [
        Table(
            f"Training step of {network}, 32x32 images, T = {TIME_STEPS}, batch {batch}, {where}",
            ["scores of", "step, ms", "relative to no scores", "quartiles"],
            [_row(kind, seconds) for kind in seconds],
        )
    ]
    if not options.short:
        network, batch = ("spiking_resnet18", 128) if on_gpu else ("small_cnn", 64)
        rows = [_variant(name, way, network, batch) for name, way in variants().items()]
        note = (
            "Only the columns of one row take turns: compare within a row. While scores are read, the graph "
            "of a compiled network breaks at each scored layer."
        )
        columns = ["execution mode", f"{NONE}, ms", f"{LAST} / {NONE}", f"{ALL} / {NONE}"]
        tables.append(
            Table(f"Training step by execution mode: {network}, batch {batch}, {where}", columns, rows, note)
        )
    return Result(tables, ratios)


def _row(kind: str, seconds: Mapping[str, list[float]]) -> list[str | float | None]:
    relative = [a / b for a, b in zip(seconds[kind], seconds[NONE], strict=True)]
    low, middle, high = statistics.quantiles(relative, n=4)
    shown = "" if kind == NONE else f"{low:.3f} to {high:.3f}"
    return [kind, 1e3 * statistics.median(seconds[kind]), f"{middle:.3f}", shown]


def _variant(name: str, way: dict[str, Any], network: str, batch: int) -> list[str | float | None]:
    try:
        steps = {kind: step(network, batch, KINDS[kind], **way) for kind in (NONE, LAST, ALL)}
        seconds = in_turns(steps, turns=11, warm_up=2, clock=_clock())
    except (ImportError, NotImplementedError, ValueError) as error:  # a backend that is not installed
        return [name, f"not measured: {error}", None, None]
    ratios = [f"{median_ratio(seconds[kind], seconds[NONE]):.3f}" for kind in (LAST, ALL)]
    return [name, 1e3 * statistics.median(seconds[NONE]), *ratios]


def _clock() -> Callable[[], float]:
    return time.perf_counter if torch.cuda.is_available() else time.process_time
