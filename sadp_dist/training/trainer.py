"""The training loop: plan an epoch, train on its subset, push scores."""

from __future__ import annotations

import math
import signal
import time
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sadp_dist.errors import AgreedError, Stopped, TrainingDiverged, UsageError
from sadp_dist.loading import PruningSampler
from sadp_dist.loading.epoch_loader import SMALLEST_CROP
from sadp_dist.loading.epoch_position import EpochPosition
from sadp_dist.scoring import Outputs, output_scores
from sadp_dist.scoring.window_loss import LossWindow, WindowLossConfig
from sadp_dist.store import connect
from sadp_dist.time_saved import SAVED, seconds_saved
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.config import OptimizationConfig, TrainConfig
from sadp_dist.training.datasets import TrainingData, open_data
from sadp_dist.training.device_sums import DeviceSums
from sadp_dist.training.learner import Learner
from sadp_dist.training.losses import correct
from sadp_dist.training.memory import memory_figures
from sadp_dist.training.metrics import MetricsLog, figures_in
from sadp_dist.training.optimizer import cosine_rate, set_rate
from sadp_dist.training.phases import Phase, Phases
from sadp_dist.training.processes import Process
from sadp_dist.training.progress import Progress
from sadp_dist.training.sequences import laid_out
from sadp_dist.training.stopping import StopRequest

ADVICE = "training diverged; lower training.learning_rate, or warm it up with training.warmup_epochs"
PLANNED = (
    "gamma",
    "capped",
    "largest_weight",
    "effective_sample_size",
    "seen",
    "staleness_mean",
    "weight_exponent",
    "placed_share",
    "noise_ratio",
    "rank_correlation",
)
"""Fields of the store's record of an epoch that are written to metrics.jsonl."""


def batch_of_a_rank(training: OptimizationConfig, world_size: int) -> int:
    """Return the number of examples of a micro-batch on each rank.

    Raises:
        AgreedError: the batch size is not divisible by the number of ranks and micro-batches.
    """
    parts = world_size * training.accumulate
    if training.batch_size % parts:
        raise AgreedError(
            f"training.batch_size={training.batch_size} must be a multiple of {parts}: {world_size} rank(s) "
            f"x training.accumulate={training.accumulate}"
        )
    return training.batch_size // parts


class Trainer:
    """One training run. With torchrun, every rank creates a trainer from the same configuration.

    Args:
        config: of the run.
        process: this rank, from ``join_job``.
        data: replaces the data of the configuration.

    Raises:
        UsageError: the configuration does not fit the data, the network or the number of processes.
    """

    def __init__(self, config: TrainConfig, process: Process, data: TrainingData | None = None) -> None:
        training = config.training
        batch_size = batch_of_a_rank(training, process.world_size)
        self.config, self.process, self.device = config, process, process.device
        time_steps = config.network.time_steps
        self.data = data or process.agree(
            lambda: open_data(config.data, batch_size, config.seed, process, time_steps)
        )
        self.fingerprints = process.from_first(self.data.fingerprints)
        self.store = connect(
            run=config.name,
            dataset_size=self.data.size,
            pruning=config.pruning,
            labels=self.data.labels,
            data=self.fingerprints.get("train"),
            **config.store.to_dict(),
        )
        self.sampler = PruningSampler(
            self.store,
            batch_size,
            rank=process.rank,
            world_size=process.world_size,
            page_order=self.data.page_order,
            accumulate=training.accumulate,
        )
        self.loader = self.data.train_loader(self.sampler)

        rule, self.phases = config.pruning.rule, Phases.of(config)
        self.score = config.scoring.score if rule.needs_scores else None
        scoring = config.scoring
        self.window = LossWindow(scoring.window) if isinstance(scoring, WindowLossConfig) else None
        self.memory_format = torch.channels_last if training.channels_last else torch.contiguous_format
        self._begin_weights()

        self.stop = StopRequest(process)
        self.phase = self.phases.all[-1]  # of the epoch that has begun
        self.epoch = 0  # epochs done
        self.batch = 0  # batches of this rank done in the current epoch
        self.sums = DeviceSums(3, self.device)  # of the current epoch on this rank: Σ w·loss, Σ hits, Σ 1
        self.seconds = 0.0  # training time in the current epoch
        self.own_seconds = 0.0  # of them, for the plan and for scores, as the host sees it
        self.totals = {"examples": 0, "seconds": 0.0}  # of the epochs done; tracking also separately
        self.extended_from: int | None = None  # the epochs of the run before --extend
        self._plan_seconds: float | None = None  # of the next epoch, after begin_epoch
        self._saved = time.monotonic()  # the last checkpoint, or the start
        self._cold = True  # the first batch of a process waits until the loader has compiled

    def _begin_weights(self) -> None:
        """Initialise the weights and everything that trains them."""
        self.learner = Learner(self.config, self.data, self.process, self.score, self.phases)

    # The run

    def run(self, checkpoints: Checkpoints, log: MetricsLog | None, progress: Progress) -> None:
        """Train until the last epoch is done, or a signal asks to stop.

        Args:
            checkpoints: of the run.
            log: None except on rank 0.
            progress: to show.

        Raises:
            Stopped: by SIGTERM, SIGINT or SIGUSR1, after the step and a checkpoint.
        """
        with self.stop:
            self._run(checkpoints, log, progress)

    def _run(self, checkpoints: Checkpoints, log: MetricsLog | None, progress: Progress) -> None:
        while self.epoch < self.phases.epochs:
            record = self.train_epoch(checkpoints, progress)
            if self.epoch < self.phases.epochs:
                self.begin_epoch()  # loads its first batches during evaluation and checkpoint
            if self.phases.evaluates(self.epoch, self.config.training.evaluate_every):
                record |= self.evaluate()
            progress.epoch_done(record)
            if log is not None:
                epoch = record["epoch"]
                self.store.record(epoch, figures_in(record))
                record |= self._planned(epoch)
            self.process.agree(partial(log.write, record) if log is not None else lambda: None)
            self.save(checkpoints)
            if stopped_by := self.stop.after_step().stop:
                raise self._stopped(stopped_by)

    def _planned(self, epoch: int) -> dict[str, Any]:
        """Return metrics of an epoch's plan from the store."""
        for record in reversed(self.store.history()):
            if record.epoch == epoch:
                planned = record.to_dict()
                return {name: planned[name] for name in PLANNED}
        return {}  # planned by an older release without such records

    def begin_epoch(self, phase: Phase | None = None) -> None:
        """Plan the next epoch from the scores of all steps before it, and start loading.

        Args:
            phase: whose images to load; None: the epoch's.
        """
        started = time.perf_counter()
        self.phase = phase or self.phases.at(self.epoch)
        self.sampler.set_epoch(self.epoch)
        if self.phase.of_curriculum:
            smallest = 1 - self.phase.augment_strength * (1 - SMALLEST_CROP)
            self.loader.crop_to(self.phase.image_size or self.data.image_size, smallest)
        self.loader.begin()
        self._plan_seconds = time.perf_counter() - started

    def train_epoch(self, checkpoints: Checkpoints, progress: Progress) -> dict[str, Any]:
        """Train the next epoch and return its record."""
        training = self.config.training
        if self._plan_seconds is None:
            self.begin_epoch()
        plan_seconds, self._plan_seconds = self._plan_seconds or 0.0, None
        self.own_seconds += plan_seconds
        started, not_training = time.perf_counter() - plan_seconds, 0.0
        if self.phases.begins_anew(self.epoch) and self.batch == 0:
            self._begin_weights()
        shard, batches = self.sampler.shard, self.batch + self.sampler.batches
        begun, step_sizes = self.batch, self.sampler.step_sizes.tolist()
        progress.epoch_started(self.epoch, shard, self.sums, done=self.batch, batches=batches)
        self.learner.set_time_steps(self.phase.time_steps)
        self.learner.trained.train()
        waiting = time.perf_counter()
        for images, labels, indices, weights in self.loader:
            if self._cold:
                not_training, self._cold = time.perf_counter() - waiting, False
            step, micro = divmod(self.batch - begun, training.accumulate)
            if micro == 0:
                done = self.epoch + self.batch / batches
                set_rate(self.learner.optimizer, cosine_rate(training, *self.phases.on_schedule(done)))
            last = micro == training.accumulate - 1 or self.batch == batches - 1
            self.train_batch(images, labels, indices, weights, step_sizes[step], last)
            self.batch += 1
            progress.batch_done(self.sums)
            if not last:
                continue
            asked = self.stop.after_step(save=self._is_late())
            steps = self.batch // training.accumulate
            due = training.checkpoint_every and steps % training.checkpoint_every == 0
            if due or asked.save or asked.stop:
                pause = time.perf_counter()
                self.seconds += pause - started - not_training
                self.save(checkpoints)
                started, not_training = time.perf_counter(), 0.0
            if asked.stop:
                raise self._stopped(asked.stop)
        compressed = self.learner.end_epoch(*self.phases.place(self.epoch))
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - started - not_training

        loss, hits, examples = self.process.sum(self.sums.total).tolist()
        if not math.isfinite(loss):
            raise TrainingDiverged(f"{self._place}: the loss is {loss}; {ADVICE}")
        saved = self._saved_so_far(int(examples), shard.dataset_size)
        self.totals["examples"] += int(examples)
        self.totals["seconds"] += self.seconds
        if self.phase.tracking:
            self.totals |= {f"tracking_{name}": self.totals[name] for name in ("examples", "seconds")}
        record = {
            "event": "epoch",
            "epoch": self.epoch,
            **self.phase.figures,
            "ratio": shard.ratio,
            "subset_size": round((1 - shard.ratio) * shard.dataset_size),
            "examples": int(examples),
            "loss": loss / shard.subset_size if shard.subset_size else None,
            "train_accuracy": hits / examples if examples else None,
            "learning_rate": self.learner.optimizer.param_groups[0]["lr"],
            "images_per_second": examples / self.seconds,
            "seconds": self.seconds,
            "plan_seconds": plan_seconds,
            "total_examples": self.totals["examples"],
            "total_seconds": self.totals["seconds"],
            **saved,
            **memory_figures(self.device),
            **compressed,
        }
        self.epoch, self.batch, self.seconds, self.own_seconds = self.epoch + 1, 0, 0.0, 0.0
        self.sums = DeviceSums(3, self.device)
        return record

    def _saved_so_far(self, examples: int, dataset_size: int) -> dict[str, float]:
        """Return the time that pruning has saved with the epoch that is done; empty without pruning."""
        if self.config.pruning.method == "full":
            return {}
        if self.phase.tracking:  # full data would not have this epoch
            saved = -self.seconds
        else:
            before = self.totals
            usual = before["seconds"] / before["examples"] if before["examples"] else 0.0
            saved = seconds_saved(self.seconds, self.own_seconds, examples, dataset_size, usual)
        self.totals["saved_seconds"] = self.totals.get("saved_seconds", 0.0) + saved
        return {SAVED: self.totals["saved_seconds"]}

    def _stopped(self, number: int) -> Stopped:
        return Stopped(
            f"{signal.Signals(number).name}: saved {self._place}, batch {self.batch}, in "
            f"{self.config.run_dir}; continue with the same command and --resume",
            number,
        )

    @property
    def _place(self) -> str:
        return f"epoch {self.epoch + 1} of {self.phases.epochs}"

    def take_step(self) -> float | None:
        """Take one optimizer step on examples of the first epoch, as in the last phase, which costs most.

        Returns:
            The mean loss; None without examples.
        """
        self.begin_epoch(self.phases.all[-1])
        self.learner.trained.train()
        batches = min(self.config.training.accumulate, self.sampler.batches)
        for micro, batch in enumerate(self.loader, 1):
            last = micro == batches
            self.train_batch(*batch, int(self.sampler.step_sizes[0]), last)
            if last:
                break
        loss, _, trained_on = self.process.sum(self.sums.total).tolist()
        return loss / trained_on if trained_on else None

    def train_batch(
        self, images: Tensor, labels: Tensor, indices: Tensor, weights: Tensor, examples: int, last: bool
    ) -> None:
        """Train a micro-batch and push its scores; take a step if it is the ``last`` of one.

        The step has so many `examples`, without padding, on all ranks together. Does not synchronise with the
        device.
        """
        inputs = self._inputs(images, indices)
        labels = labels.to(self.device, non_blocking=True)
        weights = weights.to(self.device, non_blocking=True)
        present = weights > 0  # the others are padding
        # c_i = w_i / batch. Ranks are averaged, micro-batches added: the batch is a rank's share of a step.
        coefficients = weights * (self.process.world_size / examples)
        scored = self.score is not None and self.phases.scores(self.epoch)
        logits, losses = self.learner.learn(
            inputs, labels, coefficients, key=(self.epoch, self.batch), scored=scored, last=last
        )
        if scored:
            began = time.perf_counter()
            window = None if self.window is None else self.window.add(losses, coefficients)
            scores = self._scores(Outputs(logits, labels, losses, coefficients, window, self.config.scoring))
            # A step that overflows in fp16 has no scores. In any other precision, NaN is an error.
            scaled = self.learner.grad_scaler.is_enabled()
            valid = present & ~scores.isnan() if scaled else present
            try:
                self.store.push(indices, scores, epoch=self.epoch, valid=valid)
            except UsageError as error:  # a score that is not finite means that training diverged
                said = str(error).replace(f", epoch={self.epoch}", "")  # the same epoch, counted from 0
                raise TrainingDiverged(f"{self._place}: {said}; {ADVICE}") from None
            self.own_seconds += time.perf_counter() - began
        if last:
            self.learner.step()
        with torch.no_grad():
            hits = correct(logits, labels) & present
            self.sums.add((weights * losses).sum(), hits.sum(), present.sum())

    def _scores(self, outputs: Outputs) -> Tensor:
        learner = self.learner
        if learner.scorer is not None:
            return learner.scorer.scores(outputs.coefficients, learner.grad_scaler)
        assert self.score is not None
        return output_scores(self.score, outputs)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return loss and accuracy on the test set; every example counts once at any world size."""
        started = time.perf_counter()
        network = self.learner.network
        self.learner.set_time_steps(self.config.network.time_steps)
        network.eval()
        if self.process.communicates:  # use rank 0's running statistics, as DDP does
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)
        sums, operations = DeviceSums(3, self.device), dict[str, float]()
        for images, labels, _, _ in self.data.test_loader():
            labels, inputs = labels.to(self.device, non_blocking=True), self._inputs(images)
            with self.learner.autocast():
                logits = network(inputs)
                operations = operations or self.learner.operations(inputs)  # of the first batch
            hits = correct(logits, labels)
            sums.add(self.learner.loss(logits, labels).sum(), hits.sum(), torch.ones_like(hits).sum())
        loss, right, examples = self.process.sum(sums.total).tolist()
        return {
            "test_loss": loss / examples,
            "test_accuracy": right / examples,
            "test_examples": int(examples),
            "evaluation_seconds": time.perf_counter() - started,
            **operations,
        }

    def _inputs(self, images: Tensor, indices: Tensor | None = None) -> Tensor:
        images = images.to(self.device, non_blocking=True)
        if indices is not None:
            phase = self.phase
            images = self.data.augment(images, indices, self.epoch, phase.image_size, phase.augment_strength)
        time_steps = self.learner.network.time_steps
        return laid_out(self.data.normalise(images, time_steps), self.memory_format)

    # Checkpoints

    def save(self, checkpoints: Checkpoints) -> None:
        """Write a checkpoint after a step. Every rank must call it."""
        if self.window is not None:
            self.window.clear()  # so that a resumed run has the same scores
        state = {
            **self.learner.state_dict(),
            "sums": self.process.sum(self.sums.total.clone()).cpu(),
            "seconds": self.seconds,
            "own_seconds": self.own_seconds,
            "totals": self.totals,
            "sampler": self.sampler.state_dict(),
            "config": self.config.to_dict(),
        }
        checkpoints.save(self.process, self.store, self.epoch, self.batch, state)
        self._saved = time.monotonic()

    def _is_late(self) -> bool:
        """Return whether the last checkpoint is too old; never with a window, which saving empties."""
        minutes = self.config.training.checkpoint_minutes
        return minutes is not None and self.window is None and time.monotonic() > self._saved + 60 * minutes

    def resume(self, checkpoints: Checkpoints) -> bool:
        """Load the newest checkpoint; return False if there is none."""
        found = checkpoints.load_latest(self.process, self.store, self.config.pruning)
        if found is None:
            return False
        state, self.extended_from = found
        self.learner.load_state_dict(state)
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.seconds, self.totals = state["seconds"], state["totals"]
        self.own_seconds = state.get("own_seconds", 0.0)  # older checkpoints have none
        if self.extended_from is not None:
            self.totals["extended_from"] = self.extended_from
        if self.batch > 0:
            self.sampler.load_state_dict(state.get("sampler") or self._position_of_older(state))
        if self.process.is_first:  # the sums over all ranks continue on one rank
            self.sums.total.copy_(state["sums"])
        return True

    def _position_of_older(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the position in a checkpoint of an older release; a rank had the same share of a batch."""
        training, ranks = self.config.training, len(state["random"])
        taken = state["batch"] * training.batch_size // (ranks * training.accumulate)
        return EpochPosition(state["epoch"], ((ranks, taken),)).state_dict()
