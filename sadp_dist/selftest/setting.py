"""The setting of a self-test: device, sizes, folders and time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sizes:
    """How much each check does.

    Attributes:
        network: of the correctness checks.
        compiler: backend of torch.compile.
        batch: examples of a batch in the correctness checks.
        side: of the images there, in pixels.
        time_steps: T there.
        examples: of the runs in the correctness checks, and of the loaders.
        turns: timed steps of each kind.
        networks: those whose steps are timed: name, side, batch, T, precision.
        loaded: images that each loader reads.
        dataset: N of the store at an epoch's boundary.
        promise: network, and the number of training and test images; None: all.
        epochs: the most epochs of the promise.
    """

    network: str
    compiler: str
    batch: int
    side: int
    time_steps: int
    examples: int
    turns: int
    networks: tuple[tuple[str, int, int, int, str], ...]
    loaded: int
    dataset: int
    promise: tuple[str, int | None, int | None]
    epochs: int


DEVICE = Sizes(
    network="spiking_resnet18",
    compiler="inductor",
    batch=16,
    side=32,
    time_steps=4,
    examples=1024,
    turns=20,
    networks=(
        ("spiking_resnet18", 32, 128, 4, "fp32"),
        ("sew_resnet34", 224, 32, 4, "bf16"),
        ("meta_spikeformer_15m", 224, 32, 4, "bf16"),
    ),
    loaded=50_000,
    dataset=1_281_167,
    promise=("spiking_resnet18", None, None),
    epochs=200,
)
# In fp32: a CPU takes ten times as long for convolutions in bf16, which the runs in each precision rehearse.
REHEARSAL = Sizes(
    network="small_cnn",
    compiler="aot_eager",
    batch=6,
    side=8,
    time_steps=2,
    examples=320,
    turns=2,
    networks=(
        ("spiking_resnet18", 16, 4, 2, "fp32"),
        ("sew_resnet34", 32, 2, 2, "fp32"),
        ("meta_spikeformer_15m", 32, 2, 1, "fp32"),
    ),
    loaded=200,
    dataset=10_000,
    promise=("small_cnn", 320, 100),
    epochs=2,
)


def _unreported(figures: dict[str, Any]) -> None:
    """Take figures that nobody waits for."""


@dataclass(frozen=True)
class Setting:
    """What a check is given.

    Attributes:
        kind: "cuda" or "cpu".
        sizes: how much it does.
        folder: an empty folder for its files.
        data: folder with cifar10.zip; None: there is none.
        ends: time.monotonic() at which it should be done.
        report: takes figures before the check is done, which count if it is cut.
    """

    kind: str
    sizes: Sizes
    folder: Path
    data: Path | None
    ends: float = 0.0
    report: Callable[[dict[str, Any]], None] = _unreported

    @cached_property
    def device(self) -> torch.device:
        import torch

        return torch.device(self.kind, 0) if self.on_gpu else torch.device(self.kind)

    @property
    def on_gpu(self) -> bool:
        return self.kind == "cuda"

    @property
    def seconds_left(self) -> float:
        return self.ends - time.monotonic()
