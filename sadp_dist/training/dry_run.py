"""A dry run: builds a run, takes one step and writes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from sadp_dist.snn.layers import count_parameters
from sadp_dist.training.config import StoreConfig, TrainConfig
from sadp_dist.training.datasets import TrainingData
from sadp_dist.training.phases import Phases
from sadp_dist.training.processes import Process, join_job
from sadp_dist.training.random_data import random_data
from sadp_dist.training.trackers import find_trackers
from sadp_dist.training.trainer import Trainer


@dataclass(frozen=True)
class DryRun:
    """The result of a dry run.

    Attributes:
        config: of the run.
        parameters: number of trainable parameters.
        shape: of an example: (C, H, W) images, (T, C, H, W) or (T, F) sequences.
        classes: number of classes.
        dataset_size: N.
        score: name of the score; None if the method needs none.
        layers: names of the scored layers, for gradient scores.
        phases: of the run.
        subset_sizes: S of each epoch after tracking, from the schedule.
        loss: mean loss of the step's examples; None if the first epoch is empty.
        step_seconds: time of the first step, with initialisation.
        memory: peak memory of the GPU in bytes; None on a CPU.
        notes: differences from the real run, a sentence each.
    """

    config: TrainConfig
    parameters: int
    shape: tuple[int, ...]
    classes: int
    dataset_size: int
    score: str | None
    layers: tuple[str, ...]
    phases: Phases
    subset_sizes: tuple[int, ...]
    loss: float | None
    step_seconds: float
    memory: int | None
    notes: tuple[str, ...]

    @property
    def tracking(self) -> int:
        """Number of tracking epochs on full data before pruning."""
        return self.phases.tracking

    @property
    def examples(self) -> int:
        """Number of examples of all epochs, with tracking."""
        return self.tracking * self.dataset_size + sum(self.subset_sizes)

    @property
    def examples_of_full_data(self) -> int:
        """Number of examples of K epochs on full data."""
        return self.config.training.epochs * self.dataset_size

    @property
    def time_saved(self) -> float:
        """Share of full data's time that the run saves, roughly: time is as the examples' time steps.

        It is negative if tracking costs more than pruning saves.
        """
        examples = [self.dataset_size] * self.tracking + list(self.subset_sizes)
        costs = (n * self.phases.cost(epoch) for epoch, n in enumerate(examples))
        return 1 - sum(costs) / self.examples_of_full_data

    def steps(self, examples: int) -> int:
        """Return the number of optimizer steps of an epoch on so many examples."""
        return -(-examples // self.config.training.batch_size)

    @property
    def steps_in_all(self) -> int:
        """Number of steps of the whole run."""
        return self.tracking * self.steps(self.dataset_size) + sum(map(self.steps, self.subset_sizes))


def dry_run(config: TrainConfig) -> DryRun:
    """Build what ``train`` builds and take one optimizer step, with an embedded store.

    Writes nothing. Random examples replace a public dataset whose files are missing, and random weights
    replace missing ``network.weights``.

    Raises:
        UsageError: ``train`` would refuse the run, other than for an existing run directory.
    """
    notes = []
    with join_job() as process:
        process.agree(lambda: find_trackers(config.tracking.trackers if process.is_first else ()))
        weights = config.network.weights
        if weights is not None and not Path(weights).exists():
            notes.append(f"network.weights={weights} does not exist yet: the step used random weights")
            config = config.replace(network=config.network.replace(weights=None))
        data = _stand_in(config, process)
        if data is not None:
            notes.append(f"the files of {config.data.dataset} do not exist: the step used random examples")
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
            phases=trainer.phases,
            subset_sizes=tuple(round((1 - rule.ratio(epoch)) * N) for epoch in range(rule.epochs)),
            loss=loss,
            step_seconds=time.perf_counter() - started,
            memory=torch.cuda.max_memory_allocated(process.device) if on_gpu else None,
            notes=tuple(notes),
        )


def _stand_in(config: TrainConfig, process: Process) -> TrainingData | None:
    """Return random examples if a file of a public dataset is missing, else None."""
    there = all(Path(path).exists() for path in (config.data.train, config.data.test))
    if there or config.data.dataset is None:
        return None
    return random_data(config.data, config.seed, process, config.network.time_steps)
