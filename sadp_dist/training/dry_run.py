"""A run before it is one: everything is built, one step is taken, and nothing is kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from sadp_dist.snn.layers import count_parameters
from sadp_dist.training.config import StoreConfig, TrainConfig
from sadp_dist.training.datasets import TrainingData
from sadp_dist.training.processes import Process, join_job
from sadp_dist.training.random_data import random_data
from sadp_dist.training.trackers import find_trackers
from sadp_dist.training.trainer import Trainer


@dataclass(frozen=True)
class DryRun:
    """What a run will be.

    Attributes:
        config: of the run.
        parameters: trainable numbers of the network.
        shape: of an example: (C, H, W) images, (T, C, H, W) or (T, F) sequences.
        classes: number of classes.
        dataset_size: N.
        score: what training would push as scores; None where the method needs none.
        layers: names of the layers that are scored, where the score is of gradients.
        tracking: epochs on all data before the run proper.
        subset_sizes: S of each epoch of the run proper, as the method's schedule has it.
        loss: mean loss of the step's examples; None where the first epoch has none.
        step_seconds: what the step took, the first one, with all that is made ready in it.
        memory: most bytes that were in use on the GPU; None on a CPU.
        notes: what was otherwise than in the run itself, a sentence each.
    """

    config: TrainConfig
    parameters: int
    shape: tuple[int, ...]
    classes: int
    dataset_size: int
    score: str | None
    layers: tuple[str, ...]
    tracking: int
    subset_sizes: tuple[int, ...]
    loss: float | None
    step_seconds: float
    memory: int | None
    notes: tuple[str, ...]

    @property
    def examples(self) -> int:
        """Trained on in all epochs, those of tracking included."""
        return self.tracking * self.dataset_size + sum(self.subset_sizes)

    @property
    def examples_of_full_data(self) -> int:
        """Those of K epochs on all data."""
        return self.config.training.epochs * self.dataset_size

    @property
    def time_saved(self) -> float:
        """The share of full data's examples, and so about of its time, that the run does without.

        It is negative where tracking costs more than is pruned.
        """
        return 1 - self.examples / self.examples_of_full_data

    def steps(self, examples: int) -> int:
        """Optimizer steps of an epoch on so many examples."""
        return -(-examples // self.config.training.batch_size)

    @property
    def steps_in_all(self) -> int:
        """Of the whole run."""
        return self.tracking * self.steps(self.dataset_size) + sum(map(self.steps, self.subset_sizes))


def dry_run(config: TrainConfig) -> DryRun:
    """Build what ``train`` builds and take one optimizer step, with the scores in this process alone.

    Nothing is written. Where the files of a public dataset are not there, random examples of its shape stand
    in for them, and where ``network.weights`` is not there, random weights.

    Raises:
        UsageError: what ``train`` would refuse, but for a run directory that holds a run.
    """
    notes = []
    with join_job() as process:
        process.agree(lambda: find_trackers(config.tracking.trackers if process.is_first else ()))
        weights = config.network.weights
        if weights is not None and not Path(weights).exists():
            notes.append(
                f"network.weights is {weights}, which is not there yet: the step is from random ones"
            )
            config = config.replace(network=config.network.replace(weights=None))
        data = _stand_in(config, process)
        if data is not None:
            notes.append(f"the files of {config.data.dataset} are not there: the step is on random examples")
        trainer = Trainer(config.replace(store=StoreConfig()), process, data)
        started = time.perf_counter()
        loss = trainer.take_step()
        on_gpu = process.device.type == "cuda"
        trainer.store.close()
        rule = config.pruning.rule
        N, scorer = trainer.data.size, trainer.learner.scorer
        return DryRun(
            config=config,
            parameters=count_parameters(trainer.learner.network),
            shape=trainer.data.shape,
            classes=trainer.data.classes,
            dataset_size=N,
            score=trainer.score,
            layers=scorer.layers if scorer is not None else (),
            tracking=trainer.phases.tracking,
            subset_sizes=tuple(round((1 - rule.ratio(epoch)) * N) for epoch in range(rule.epochs)),
            loss=loss,
            step_seconds=time.perf_counter() - started,
            memory=torch.cuda.max_memory_allocated(process.device) if on_gpu else None,
            notes=tuple(notes),
        )


def _stand_in(config: TrainConfig, process: Process) -> TrainingData | None:
    """Random examples, where a file of a public dataset is missing."""
    there = all(Path(path).exists() for path in (config.data.train, config.data.test))
    if there or config.data.dataset is None:
        return None
    return random_data(config.data, config.seed, process, config.network.time_steps)
