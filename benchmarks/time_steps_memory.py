"""Peak memory of a training step by number of time steps, with and without reversibility.

A T-RevSNN recomputes earlier states in its backward pass. The same network under plain autograd keeps them.
Counted is the peak of torch's memory in a forward and a backward pass, without the weights and their
gradients. A T-RevSNN has its own weights for each time step.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.result import Cell, Options, Ratio, Result, Table
from benchmarks.training_memory import MB, peak_of_torch
from sadp_dist.snn import NeuronConfig, build_network

NETWORK = "t_revsnn_small"
TIME_STEPS = (2, 4, 8)
IMAGE_SIZE = 32
GOAL = 1.05  # of the peak at the most time steps to that at the fewest


def pass_of(time_steps: int, reversible: bool, batch: int) -> tuple[nn.Module, Callable[[], None]]:
    """Return a network, and a call that runs its forward and backward pass."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    neuron = NeuronConfig(decay=0.5, threshold=0.5, surrogate="rect")
    network = build_network(NETWORK, 10, IMAGE_SIZE, time_steps=time_steps, neuron=neuron).to(device)
    network.body.reversible = reversible
    images = torch.randn(batch, 3, IMAGE_SIZE, IMAGE_SIZE, device=device)

    def forward_and_back() -> None:
        network.zero_grad()
        loss: Tensor = network(images).square().mean()
        loss.backward()

    return network, forward_and_back


def measure(options: Options) -> Result:
    """See the module."""
    batch = 4 if options.short else 16
    rows: list[list[Cell]] = []
    peaks: dict[tuple[int, bool], float] = {}
    for steps in TIME_STEPS:
        row: list[Cell] = [steps]
        for reversible in (True, False):
            network, forward_and_back = pass_of(steps, reversible, batch)
            forward_and_back()  # what is allocated once
            begin = time.perf_counter()
            forward_and_back()
            seconds = time.perf_counter() - begin
            network.zero_grad()
            gradients = sum(p.numel() * p.element_size() for p in network.parameters())
            peaks[steps, reversible] = peak_of_torch(forward_and_back) - gradients
            row += [f"{peaks[steps, reversible] / MB:,.1f}", seconds]
        rows.append(row)
    few, many = min(TIME_STEPS), max(TIME_STEPS)
    table = Table(
        f"Forward and backward pass of {NETWORK}, batch {batch}, {IMAGE_SIZE}x{IMAGE_SIZE} pixels",
        ["T", "reversible, MiB", "reversible, s", "autograd, MiB", "autograd, s"],
        rows,
        "Memory of weights and gradients is not included.",
    )
    growth = peaks[many, True] / peaks[few, True]
    return Result(
        [table],
        [
            Ratio(f"peak at T = {many} / T = {few}, reversible", growth, "lower", GOAL, slack=1.02),
            Ratio(
                f"peak at T = {many}, reversible / autograd",
                peaks[many, True] / peaks[many, False],
                "lower",
                slack=1.05,
            ),
        ],
    )
