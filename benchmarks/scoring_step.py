"""Cost of the scores in a training step.

A step is the forward pass, the backward pass, the scores and SGD. It has no loading and no store. Each row
has a network of its own, so a step without scores has no hooks. On the CPU, one thread runs, and the times
are CPU times, which other work on the machine hardly changes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from spikingjelly.activation_based.memopt import optimize_memory
from spikingjelly.activation_based.neuron import LIFNode
from torch.nn.functional import cross_entropy

from benchmarks.result import Options, Ratio, Result, Table
from benchmarks.timing import in_turns, median_ratio
from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.snn import build_network
from sadp_dist.snn.neurons import NeuronConfig

NONE, LAST, EXACT, ALL = "no scores", "last layer", "last layer, exact", "all layers"
KINDS: dict[str, dict[str, Any] | None] = {
    NONE: None,
    LAST: {"layers": "last"},
    EXACT: {"layers": "last", "exact": True},
    ALL: {"layers": "all"},
}
GOALS = {LAST: 1.01, ALL: 1.08}
TIME_STEPS = 4


class Step:
    """One training step of a network, with or without scores.

    Args:
        network: a name in `sadp_dist.snn.NETWORKS`; images are 32x32.
        batch: examples per step.
        scoring: arguments of a `SpikeAwareScorer`, or None for no scores.
        compile: compile the network with torch.compile.
        bf16: run the forward pass under autocast.
        channels_last: memory format of weights and images.
        optimise_memory: SpikingJelly's level 1, which runs neurons again in the backward pass.
        backend: of the neurons; "inductor" is compiled, all others are SpikingJelly's.
    """

    def __init__(
        self,
        network: str,
        batch: int,
        scoring: dict[str, Any] | None,
        *,
        compile: bool = False,
        bf16: bool = False,
        channels_last: bool = False,
        optimise_memory: bool = False,
        backend: str = "torch",
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        torch.manual_seed(0)
        self.images = torch.rand(batch, 3, 32, 32, device=self.device).to(memory_format=memory_format)
        self.labels = torch.randint(10, (batch,), device=self.device)
        self.coefficients = torch.full((batch,), 1 / batch, device=self.device)
        compiled_neurons = NeuronConfig(backend="inductor" if backend == "inductor" else "torch")
        self.network = build_network(network, num_classes=10, time_steps=TIME_STEPS, neuron=compiled_neurons)
        self.network.to(self.device, memory_format=memory_format)
        if backend not in ("torch", "inductor"):
            for module in self.network.modules():
                if isinstance(module, LIFNode):
                    module.backend = backend
        if optimise_memory:
            optimize_memory(self.network, LIFNode, lambda model: model(self.images), level=1)
        self.scorer = None if scoring is None else SpikeAwareScorer(self.network, **scoring)
        self.trained = torch.compile(self.network) if compile else self.network
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1e-3, momentum=0.9)

    def __call__(self) -> torch.Tensor | None:
        """Run the step, wait for it, and return the scores."""
        self.optimizer.zero_grad()
        with self.scorer or nullcontext():
            with self.autocast:
                logits = self.trained(self.images)
            losses = cross_entropy(logits.float().mean(0), self.labels, reduction="none")
            (self.coefficients * losses).sum().backward()
        scores = None if self.scorer is None else self.scorer.scores(self.coefficients)
        self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return scores


def variants() -> dict[str, dict[str, Any]]:
    """Return ways to run a network, including those for a GPU if there is one."""
    ways: dict[str, dict[str, Any]] = {
        "eager, fp32": {},
        "bf16 autocast": {"bf16": True},
        "channels_last": {"channels_last": True},
        "SpikingJelly's memory optimisation": {"optimise_memory": True},
        "neurons by torch.compile": {"backend": "inductor"},
        "network by torch.compile": {"compile": True},
    }
    if torch.cuda.is_available():
        ways |= {f"SpikingJelly's {backend} neurons": {"backend": backend} for backend in ("triton", "cupy")}
    return ways


def measure(options: Options) -> Result:
    """See the module."""
    on_gpu = torch.cuda.is_available()
    torch.set_num_threads(1)
    where = torch.cuda.get_device_name() if on_gpu else "one CPU thread"
    network, batch = ("spiking_resnet18", 128) if on_gpu else ("spiking_resnet18", 16)
    if options.short:
        network, batch = "small_cnn", 64
    kinds = {name: KINDS[name] for name in ((NONE, LAST, ALL) if options.short else KINDS)}
    steps = {name: Step(network, batch, scoring) for name, scoring in kinds.items()}
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
        steps = {kind: Step(network, batch, KINDS[kind], **way) for kind in (NONE, LAST, ALL)}
        seconds = in_turns(steps, turns=11, warm_up=2, clock=_clock())
    except (ImportError, NotImplementedError, ValueError) as error:  # a backend that is not installed
        return [name, f"not measured: {error}", None, None]
    ratios = [f"{median_ratio(seconds[kind], seconds[NONE]):.3f}" for kind in (LAST, ALL)]
    return [name, 1e3 * statistics.median(seconds[NONE]), *ratios]


def _clock() -> Callable[[], float]:
    return time.perf_counter if torch.cuda.is_available() else time.process_time
