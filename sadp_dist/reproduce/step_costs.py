"""What a training step costs: its time, and the memory of its backward pass."""

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
    """Of a run's first batch.

    Attributes:
        epoch_seconds: so long as an epoch of all data takes of such steps, without loading.
        peak_bytes: on CUDA all that was allocated at the peak; else what autograd keeps.
    """

    epoch_seconds: float
    peak_bytes: int


def step_cost(config: TrainConfig) -> StepCost:
    """Take a few steps with the first batch; the quickest one counts."""
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
        step()  # what is allocated once
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
