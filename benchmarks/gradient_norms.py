"""Scores compared with true gradient norms from Opacus and torch.func.

Each method adds some time to a training step, and its values correlate with the true norms of the per-
example gradients. All methods use one network that suits them, of `sadp_dist.selftest.true_norms`. On the
CPU, one thread runs, and the times are CPU times.
"""

from __future__ import annotations

import statistics
import time
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.result import Options, Ratio, Result, Table
from benchmarks.timing import awaited, in_turns, median_ratio
from sadp_dist.selftest.true_norms import TIME_STEPS, NormSteps

PLAIN, LAST, EXACT, ALL = "no scores", "last layer", "last layer, exact", "all layers"
OPACUS, FUNC = "Opacus, true norms", "torch.func, true norms"
SCORES: dict[str, dict[str, Any]] = {
    LAST: {"layers": "last"},
    EXACT: {"layers": "last", "exact": True},
    ALL: {"layers": "all"},
}


def measure(options: Options) -> Result:
    """See the module."""
    on_gpu = torch.cuda.is_available()
    torch.set_num_threads(1)
    device = torch.device("cuda" if on_gpu else "cpu")
    steps = NormSteps(256 if on_gpu else 16 if options.short else 64, device)
    ways = {PLAIN: steps.scored(None), **{name: steps.scored(scoring) for name, scoring in SCORES.items()}}
    missing = ""
    if find_spec("opacus"):
        ways[OPACUS] = steps.opacus()
    else:
        missing = " Opacus is not installed."
    ways[FUNC] = steps.func()
    ways = {name: awaited(way) for name, way in ways.items()}
    truth = ways[FUNC]()
    assert truth is not None
    if OPACUS in ways:
        torch.testing.assert_close(ways[OPACUS](), truth, rtol=1e-3, atol=1e-5)
    clock = time.perf_counter if on_gpu else time.process_time
    seconds = in_turns(ways, 5 if options.short else 15, clock=clock)
    rows: list[list[str | float | None]] = []
    for name, way in ways.items():
        found = way()
        agreement = None if found is None else f"{torch.corrcoef(torch.stack([found, truth]))[0, 1]:.3f}"
        ratio = median_ratio(seconds[name], seconds[PLAIN])
        rows.append([name, 1e3 * statistics.median(seconds[name]), f"{ratio:.3f}", agreement])
    where = torch.cuda.get_device_name() if on_gpu else "one CPU thread"
    table = Table(
        f"Forward and backward pass, T = {TIME_STEPS}, batch {len(steps.labels)}, {where}",
        ["scores or norms", "step, ms", "relative to no scores", "correlation with the true norms"],
        rows,
        "The network has its initial weights and gets noise: the table compares times, not the quality of "
        f"scores in training. Every method also computes the mean gradient.{missing}",
    )
    ratios = [
        Ratio(f"{peer} / {ALL}, step", median_ratio(seconds[peer], seconds[ALL]), "higher", slack=slack)
        for peer, slack in ((OPACUS, None), (FUNC, 1.5))  # the first is not everywhere
        if peer in seconds
    ]
    return Result([table], ratios)
