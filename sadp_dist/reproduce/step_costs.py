"""Time and memory of a training step."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from sadp_dist.snn.learning.memory import BytesKept
from sadp_dist.training.config import TrainConfig
from sadp_dist.training.processes import Process, device_of
from sadp_dist.training.sequences import laid_out
from sadp_dist.training.trainer import Trainer

STEPS = 3


@dataclass(frozen=True)
class StepCost:
    """The cost of a step with a run's first batch.

    Attributes:
        epoch_seconds: time of an epoch on full data at this speed, without loading.
        peak_bytes: on CUDA, the peak of allocated memory; else the memory that autograd keeps.
    """

    epoch_seconds: float
    peak_bytes: int


def step_cost(config: TrainConfig) -> StepCost:
    """Measure a step with the first batch; the time is the minimum of a few steps."""
    trainer = Trainer(config, Process(0, 1, device_of(0, 1)))
    try:
        trainer.begin_epoch()
        images, labels, _, _ = next(iter(trainer.loader))
        cuda = trainer.device.type == "cuda"
        inputs = laid_out(trainer.data.normalise(images.to(trainer.device)), trainer.memory_format)
        labels = labels.to(trainer.device)
        coefficients = torch.full((len(labels),), 1 / len(labels), device=trainer.device)

        def step() -> float:
            begin = time.perf_counter()
            trainer.learner.learn(inputs, labels, coefficients, key=(0, 0), scored=False, last=True)
            trainer.learner.step()
            if cuda:
                torch.cuda.synchronize()
            return time.perf_counter() - begin

        trainer.learner.trained.train()
        step()  # allocates memory that is reused
        seconds = min(step() for _ in range(STEPS))
        if cuda:
            torch.cuda.reset_peak_memory_stats()
            step()
            peak = torch.cuda.max_memory_allocated()
        else:
            with BytesKept() as kept:
                step()
            peak = kept.most
        return StepCost(seconds * trainer.data.size / len(labels), peak)
    finally:
        trainer.store.close()
