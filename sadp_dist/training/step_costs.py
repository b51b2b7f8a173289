"""Measures what a training step costs on this machine, with fewer time steps or smaller images."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

from sadp_dist.errors import AgreedError, UsageError
from sadp_dist.selection import PruningConfig
from sadp_dist.training.config import StoreConfig, TrainConfig
from sadp_dist.training.curriculum import CurriculumPhase
from sadp_dist.training.datasets import TrainingData, open_data
from sadp_dist.training.processes import Process, join_job
from sadp_dist.training.trainer import Trainer, batch_of_a_rank

STEPS = (3, 200)
"""Fewest and most batches that are timed, after one to warm up."""


@dataclass(frozen=True)
class StepCost:
    """What a rank's batch takes in a phase.

    Attributes:
        time_steps: T.
        image_size: side of the images in pixels; None for sequences.
        seconds: median time of a batch with loading; None if the run cannot have this phase.
        waiting: the share of the time in which training waits for data.
        refusal: why the run cannot have this phase.
    """

    time_steps: int
    image_size: int | None
    seconds: float | None
    waiting: float = 0.0
    refusal: str = ""


def measured_costs(config: TrainConfig, seconds: float) -> tuple[list[StepCost], int, bool]:
    """Measure fewer time steps, and smaller images with the fewest; under torchrun on all ranks together.

    It writes nothing.

    Args:
        config: of the run.
        seconds: how long to train for each, roughly.

    Returns:
        The costs, that of the run's own time steps and image size first; the batches of an epoch on full
        data, on each rank; and whether this is rank 0.

    Raises:
        UsageError: the run itself is refused, or has too few examples.
    """
    with join_job() as process:
        batch = batch_of_a_rank(config.training, process.world_size)
        data = process.agree(
            lambda: open_data(config.data, batch, config.seed, process, config.network.time_steps)
        )
        size = data.shape[-1] if len(data.shape) == 3 else None
        T = config.network.time_steps

        def cost(time_steps: int, image_size: int | None) -> StepCost:
            return step_cost(config, process, data, time_steps, image_size, seconds)

        costs = [cost(T, size)]
        if costs[0].seconds is None:
            raise AgreedError(costs[0].refusal)
        costs += [cost(steps, size) for steps in fewer_steps(T)]
        fewest = min(one.time_steps for one in costs if one.seconds is not None)
        if size is not None:
            costs += [cost(fewest, smaller) for smaller in smaller_sizes(size)]
        return costs, -(-data.size // (batch * process.world_size)), process.is_first


def fewer_steps(time_steps: int) -> list[int]:
    """Return the divisors of T below it, largest first: a sequence's steps can be merged into as many."""
    return [steps for steps in range(time_steps - 1, 0, -1) if time_steps % steps == 0]


def smaller_sizes(size: int) -> list[int]:
    """Return three quarters and half of a side in pixels, as even numbers."""
    return [2 * round(size * share / 2) for share in (3 / 4, 1 / 2)]


def step_cost(
    config: TrainConfig,
    process: Process,
    data: TrainingData,
    time_steps: int,
    image_size: int | None,
    seconds: float,
) -> StepCost:
    """Train a new run on some batches of full data, in one phase, and return what one takes.

    Every rank must call it. It writes nothing.

    Args:
        config: of the run.
        process: this rank.
        data: of the run.
        time_steps: T of the phase.
        image_size: side of its images in pixels; None for sequences.
        seconds: how long to train, roughly.

    Raises:
        UsageError: there are too few examples.
    """
    own = config.network.time_steps, data.shape[-1] if len(data.shape) == 3 else None
    cheap = CurriculumPhase(until=0.5, time_steps=time_steps, image_size=image_size)
    curriculum = [] if (time_steps, image_size) == own else [cheap, CurriculumPhase()]
    try:
        trainer = Trainer(_on_full_data(config, curriculum), process, data)
    except (UsageError, AgreedError) as error:
        return StepCost(time_steps, image_size, None, refusal=str(error))
    try:
        intervals, waits = _timed(trainer, process, seconds)
    finally:
        trainer.store.close()
    return StepCost(time_steps, image_size, median(intervals), sum(waits) / sum(intervals))


def _on_full_data(config: TrainConfig, curriculum: list[CurriculumPhase]) -> TrainConfig:
    """Return the run with another curriculum, without pruning, a store of its own and weights to load."""
    training = config.training.replace(curriculum=curriculum, epochs=max(config.training.epochs, 2))
    pruning = PruningConfig(method="full", epochs=training.epochs, seed=config.pruning.seed)
    network = config.network.replace(weights=None)
    return config.replace(training=training, pruning=pruning, network=network, store=StoreConfig())


def _timed(trainer: Trainer, process: Process, seconds: float) -> tuple[list[float], list[float]]:
    """Return the time of each batch after the first, and the part of it in which it waited for data."""
    config = trainer.config.training
    intervals: list[float] = []
    waits: list[float] = []
    trainer.begin_epoch()
    wanted = trainer.sampler.batches
    if wanted <= STEPS[0]:
        raise UsageError(
            f"data.train has {trainer.data.size} examples, {wanted} batches of each rank; measuring a step "
            f"takes at least {STEPS[0] + 1} batches"
        )
    trainer.learner.set_time_steps(trainer.phase.time_steps)
    trainer.learner.trained.train()
    before = time.perf_counter()
    for batch in trainer.loader:
        loaded = time.perf_counter()
        last = len(intervals) % config.accumulate == config.accumulate - 1
        trainer.train_batch(*batch, config.batch_size, last)
        trainer.sums.total.tolist()  # waits for the device
        now = time.perf_counter()
        intervals.append(now - before)
        waits.append(loaded - before)
        before = now
        if len(intervals) == 2:  # the first one also compiles and allocates
            fitting = process.from_first(lambda: int(seconds / intervals[1]))
            wanted = min(wanted, 1 + min(max(fitting, STEPS[0]), STEPS[1]))
        if len(intervals) == wanted:
            break
    return intervals[1:], waits[1:]
