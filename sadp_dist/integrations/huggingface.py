"""Data pruning in Hugging Face's `Trainer`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.integrations.planned_batches import KEY, Planned, PlannedLoader, Step
from sadp_dist.loading import PruningSampler
from sadp_dist.loading.epoch_position import EpochPosition
from sadp_dist.loading.indexed_loader import indexed_loader, refuse_other_datasets
from sadp_dist.pruner import METHOD, refuse_other_rules
from sadp_dist.scoring import SpikeAwareScorer, loss_scores
from sadp_dist.selection import PruningConfig
from sadp_dist.store import Store, connect

try:
    from transformers import PreTrainedModel, Trainer, TrainerCallback
    from transformers.trainer_utils import get_last_checkpoint
except ImportError as error:
    if find_spec("transformers"):  # such as with a torchaudio for another torch
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise UsageError(f"transformers.Trainer cannot be imported: {str(cause).splitlines()[0]}") from error
    raise MissingExtra("transformers", "huggingface") from error

STATE_FILE = "pruning.pt"
"""The scores and the position in the epoch, in the folder of a checkpoint."""


class PrunedTrainer(Trainer):
    """Hugging Face's `Trainer`, training each epoch on the subset that the scores select.

        trainer = PrunedTrainer(
            model=model,
            args=TrainingArguments("out", num_train_epochs=10),
            train_dataset=train_set,
            pruning={"ratio": 0.5},
        )
        trainer.train()

    It takes every argument of `Trainer`; the model may have spikes or not. The dataset is map-style, such as
    a `datasets.Dataset`, and needs no index column. `per_device_train_batch_size` is the most examples of a
    batch. Gradient accumulation, evaluation, mixed precision and `resume_from_checkpoint` need nothing more:
    checkpoints include the scores and the position in the epoch. It runs in one process, or with DDP under
    torchrun.

    The training loss is the mean of weight times loss, so each example needs its own loss. Without
    `compute_loss_func` it is the cross entropy of a classifier with logits (B, C) and labels (B,).

    Learning-rate schedules and `max_steps` of the trainer's state count the steps of the pruned epochs. See
    `PruningSampler.total_batches` for rules whose number of steps is an estimate.

    Args:
        model: as in `Trainer`.
        args: as in `Trainer`; `num_train_epochs` must be the number of epochs of the pruning.
        pruning: how epochs are planned; or a dict with fields of `PruningConfig`, where `epochs` is
            `num_train_epochs` and `method` "sadp-plus" if you leave them out.
        store: URL of the store, as in `sadp_dist.connect`.
        run: name of the run, as in `sadp_dist.connect`. An existing run of this name is reset.
        labels: class of each training example, as in `sadp_dist.connect`.
        scoring: options of `SpikeAwareScorer`, such as `layers`. For a `PreTrainedModel`, `layout` is "batch"
            if you leave it out.
        store_options: further options of `sadp_dist.connect`.
        compute_loss_func: as in `Trainer`, but it must return one loss per example, (B,), without dividing
            by `num_items_in_batch`, which is None.
        callbacks: as in `Trainer`.
        options: any other argument of `Trainer`.

    Attributes:
        pruning: how epochs are planned.
        store: the scores and plans, once `train` has begun. You can query and save it afterwards.
        sampler: of the training loader; None before `train`.
        scorer: of the model; None before `train`, and for a rule that needs no gradient.

    Raises:
        UsageError: from `train`, if an argument does not go together with pruning.
        StoreUnavailable: from `train`, if the store cannot be reached.
    """

    loss_is_scaled_for_ga = True  # `compute_loss` divides by the examples of the whole step
    store: Store

    def __init__(
        self,
        model: nn.Module | None = None,
        args: Any = None,
        *,
        pruning: PruningConfig | Mapping[str, Any],
        store: str = "memory:",
        run: str = "trainer",
        labels: ArrayLike | None = None,
        scoring: Mapping[str, Any] | None = None,
        store_options: Mapping[str, Any] | None = None,
        compute_loss_func: Callable[..., Tensor] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        **options: Any,
    ) -> None:
        self._planning = _Planning(self)
        super().__init__(
            model,
            args,
            compute_loss_func=compute_loss_func or self._classification_losses,
            callbacks=[self._planning, *(callbacks or [])],
            **options,
        )
        epochs = self.args.num_train_epochs
        if isinstance(pruning, PruningConfig):
            self.pruning = pruning
        else:
            defaults = {"method": METHOD, "epochs": int(epochs) if epochs == int(epochs) else epochs}
            self.pruning = PruningConfig(**{**defaults, **pruning})
        self._connection = {"run": run, "labels": labels, **(store_options or {})}
        self._url, self._scoring = store, scoring or {}
        self.sampler: PruningSampler | None = None
        self.scorer: SpikeAwareScorer | None = None
        self._in_train = False
        self._resumed_step = 0
        self._step: Step | None = None
        self._untold: list[Tensor] = []  # examples of the current optimizer step, which do not count yet
        self._untold_step = 0

    # The run

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> Any:
        """Train; begin a new run in the store, or continue the run of a checkpoint. See `Trainer.train`.

        Raises:
            UsageError: an argument does not go together with pruning, or the checkpoint has no scores.
        """
        self._refuse_arguments(trial)
        checkpoint: Any = resume_from_checkpoint or None
        if checkpoint is True:
            checkpoint = get_last_checkpoint(self.args.output_dir)
            if checkpoint is None:
                raise UsageError(
                    f"resume_from_checkpoint=True: there is no checkpoint in {self.args.output_dir!r}; leave "
                    "it out to begin anew"
                )
        state = None if checkpoint is None else _read_state(Path(checkpoint))
        if not hasattr(self, "store"):
            self.store = connect(
                self._url, dataset_size=len(self.train_dataset), pruning=self.pruning, **self._connection
            )
        self.store.reset()
        self.sampler = PruningSampler(
            self.store, self.args.train_batch_size, accumulate=self.args.gradient_accumulation_steps
        )
        self._planning.next_epoch, self._resumed_step, self._untold = 0, 0, []
        if state is not None:
            self.store.load_state_dict(state)
            self.sampler.load_state_dict(state["position"])
            self._planning.next_epoch, self._resumed_step = int(state["epoch"]), int(state["global_step"])
        skipping, self.args.ignore_data_skip = self.args.ignore_data_skip, True  # the sampler skips
        self._in_train = True
        try:
            return super().train(checkpoint, trial, ignore_keys_for_eval)
        finally:
            self._in_train, self.args.ignore_data_skip = False, skipping

    def set_initial_training_values(self, args: Any, dataloader: Any) -> tuple[Any, ...]:
        """Return the numbers of epochs and steps; `Trainer` asks for them when training begins.

        `Trainer` takes all epochs as equally long, so it gets the longest possible one: an epoch ends when
        the loader does. Only the number of steps of the whole run is that of the pruned epochs.
        """
        epochs, steps_per_epoch, examples, _, batch, batches, _ = super().set_initial_training_values(
            args, dataloader
        )
        assert self.sampler is not None
        first = self._planning.next_epoch
        if first < epochs and self._resumed_step:
            self.sampler.set_epoch(first)
            steps = self._resumed_step + self._steps_left() + self._steps_between(first + 1, epochs)
        else:
            steps = self._resumed_step + self._steps_between(first, epochs)
        # Of a resumed run, `Trainer` computes the epoch from the steps, as if all epochs were equally long.
        last = self._resumed_step // steps_per_epoch + epochs - first
        return last, steps_per_epoch, examples, sum(self.store.planned_sizes()), batch, batches, steps

    def _steps_between(self, first: int, end: int) -> int:
        """Return the optimizer steps of whole epochs."""
        assert self.sampler is not None
        accumulate = self.sampler.accumulate
        before, until = (
            self.sampler.total_batches(epochs, accumulate) if epochs else 0 for epochs in (first, end)
        )
        return until - before

    def _steps_left(self) -> int:
        """Return the optimizer steps that are left in the current epoch."""
        assert self.sampler is not None
        return ceil(self.sampler.batches / self.sampler.accumulate)

    # Data

    def get_train_dataloader(self) -> Any:
        """Return the loader of this rank's examples of each epoch; outside of `train`, that of `Trainer`."""
        theirs: DataLoader[Any] = super().get_train_dataloader()
        if not self._in_train:
            return theirs
        assert self.sampler is not None
        names = ("num_workers", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context")
        options = {name: getattr(theirs, name) for name in (*names, "prefetch_factor", "persistent_workers")}
        generator = torch.Generator()  # of the workers' seeds; a resumed epoch then draws as the whole one
        options |= {"collate_fn": theirs.collate_fn, "in_order": theirs.in_order, "generator": generator}
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return PlannedLoader(indexed_loader(theirs.dataset, self.sampler, options), self.sampler, seed)

    # A step

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Train on a batch and push its scores. See `Trainer.training_step`."""
        planned: Planned = inputs.pop(KEY)
        self._step = step = Step(planned)
        try:
            if self.scorer is None:
                loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
            else:
                with self.scorer:
                    loss = super().training_step(model, inputs, num_items_in_batch)
        finally:
            self._step = None
        if not planned.is_padding:
            self._push(step)
            self._untold.append(planned.index)
            self._untold_step = self.state.global_step
        return loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the training loss, the mean of weight times loss over a step; in evaluation, the mean.

        Raises:
            UsageError: `compute_loss_func` does not return one loss per example.
        """
        losses, outputs = super().compute_loss(model, inputs, return_outputs=True)
        loss = losses.mean() if self._step is None else self._step.loss(losses)
        return (loss, outputs) if return_outputs else loss

    def _classification_losses(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Tensor:
        """Return the cross entropy of each example, (B,).

        Raises:
            UsageError: there are no logits (B, C) and integer labels (B,).
        """
        logits = outputs
        if not isinstance(outputs, Tensor):
            logits = outputs.get("logits") if isinstance(outputs, Mapping) else outputs[0]
        shapes = [list(x.shape) if isinstance(x, Tensor) else None for x in (logits, labels)]
        if None in shapes or logits.ndim != 2 or labels.ndim != 1 or labels.is_floating_point():
            raise UsageError(
                f"logits have shape {shapes[0]} and labels {shapes[1]}: a classifier has [B, C] and integers "
                "[B]; for another task, give compute_loss_func=, which returns one loss per example, [B]"
            )
        smoothing = self.args.label_smoothing_factor
        return cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)

    def _push(self, step: Step) -> None:
        """Push the scores of a batch."""
        rule = self.pruning.rule
        if not rule.needs_scores:
            return
        assert self.sampler is not None and step.losses is not None
        coefficients = step.planned.weights.to(step.losses.device) / step.planned.step_size
        scaler = self.accelerator.scaler
        if self.scorer is not None:
            scores = self.scorer.scores(coefficients, scaler)
        else:
            scores = loss_scores(step.losses, coefficients)
        valid = coefficients != 0
        if scaler is not None:  # it skips a step whose scaled gradients overflow
            valid &= scores.isfinite()
        self.store.push(step.planned.index, scores, epoch=self.sampler.epoch, valid=valid)

    # The state

    def _mark_trained(self) -> None:
        """Count the examples of the last optimizer step as trained on, if the step was made."""
        if self._untold and self.state.global_step > self._untold_step:
            assert self.sampler is not None
            self.sampler.mark_trained(torch.cat(self._untold))
            self._untold = []

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model; in a checkpoint, also the scores and the position. See `Trainer.save_model`."""
        super().save_model(output_dir, _internal_call)
        if self._in_train and _internal_call and not self.args.save_only_model and self.sampler is not None:
            self._mark_trained()
            position = self.sampler.state_dict()
            done = bool(position) and EpochPosition.of(position).is_end
            state = {
                **self.store.state_dict(),
                "epoch": self.sampler.epoch + done,
                "position": {} if done else position,
                "global_step": self.state.global_step,
            }
            if self.args.should_save:
                torch.save(state, Path(str(output_dir), STATE_FILE))

    # Refusals

    def _refuse_arguments(self, trial: Any) -> None:
        """Refuse what does not go together with pruning.

        Raises:
            UsageError: there is such an argument.
        """
        args, pruning = self.args, self.pruning
        refuse_other_rules(pruning, "PrunedTrainer")
        if args.max_steps > 0:
            raise UsageError(
                f"max_steps={args.max_steps}: pruning plans whole epochs; give num_train_epochs instead"
            )
        if args.num_train_epochs != pruning.run_epochs:
            raise UsageError(
                f"pruning.{pruning.epochs_in_words()}, but num_train_epochs={args.num_train_epochs}; every "
                "epoch needs a pruning ratio: give both the same whole number"
            )
        refuse_other_datasets(self.train_dataset)
        for refused, said in self._refusals(trial):
            if refused:
                raise UsageError(said)

    def _refusals(self, trial: Any) -> Iterator[tuple[bool, str]]:
        """Yield whether an argument is one that does not go together with pruning, and what to say of it."""
        args, accelerate = self.args, self.args.accelerator_config
        strategy = args.train_sampling_strategy
        yield (
            trial is not None,
            "hyperparameter_search: PrunedTrainer cannot do it; call train() for each setting",
        )
        yield (
            strategy != "random",
            f"train_sampling_strategy={strategy!r}: the plan of each epoch has its own order; leave it out",
        )
        yield (
            args.dataloader_drop_last,
            "dataloader_drop_last=True: it leaves out examples that the weights count on; leave it out",
        )
        yield (
            args.auto_find_batch_size,
            "auto_find_batch_size=True: the plan needs one batch size; give per_device_train_batch_size",
        )
        for name in ("split_batches", "dispatch_batches"):
            yield (
                bool(getattr(accelerate, name)),
                f"accelerator_config.{name}=True: each rank reads its own share of the plan, in batches of "
                "per_device_train_batch_size; leave it out",
            )
        yield (
            args.n_gpu > 1,
            f"{args.n_gpu} GPUs in one process: DataParallel has no scores; start one process for each, with "
            f"torchrun --nproc-per-node {args.n_gpu}",
        )
        ranks = os.environ.get("WORLD_SIZE", "1")
        yield (
            ranks != "1" and args.world_size == 1,
            f"WORLD_SIZE={ranks}, but Trainer makes each process a job of its own; without GPUs, pass "
            "use_cpu=True",
        )
        other = [name for name in ("deepspeed", "fsdp", "parallelism_config") if getattr(args, name, None)]
        yield bool(other), f"{', '.join(other)}: PrunedTrainer runs in one process or with DDP; leave it out"


class _Planning(TrainerCallback):
    """Enters each epoch, and corrects what `Trainer` takes from epochs of equal length.

    Attributes:
        next_epoch: to enter, counted from 0.
    """

    def __init__(self, trainer: PrunedTrainer) -> None:
        self._trainer = trainer
        self.next_epoch = 0
        self._epoch = 0.0  # when this epoch was entered, with the part of it that was done
        self._steps, self._done = 1, 0  # from there to the end of the epoch, and made since

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer, rule = self._trainer, self._trainer.pruning.rule
        state.num_train_epochs = trainer.pruning.run_epochs
        trainer.scorer = None
        if rule.needs_scores and rule.score == "gradient":
            # In these models the batch is outermost, also where a batch of 8 has 8 tokens.
            layout = "batch" if isinstance(trainer.model, PreTrainedModel) else None
            trainer.scorer = SpikeAwareScorer(trainer.model, **{"layout": layout, **trainer._scoring})

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer, sampler = self._trainer, self._trainer.sampler
        assert sampler is not None
        epochs = trainer.pruning.run_epochs
        self._steps = 0
        while not self._steps and self.next_epoch < epochs:  # `Trainer` stops at an empty epoch
            sampler.set_epoch(self.next_epoch)
            self._steps, self._done, self.next_epoch = trainer._steps_left(), 0, self.next_epoch + 1
        read = sampler.progress.taken_before + sampler.world_size * sampler.start
        self._epoch = sampler.epoch + read / max(sampler.shard.drawn, 1)
        # From now on exact, also for rules that do not know beforehand how much they keep.
        later = max(trainer._steps_between(self.next_epoch, epochs), self.next_epoch < epochs)
        state.max_steps = state.global_step + self._steps + (later if self._steps else 0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer._mark_trained()
        self._done += 1
        left = 1 - self._done / self._steps
        state.epoch = self.next_epoch - left * (self.next_epoch - self._epoch)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.store.flush()


def _read_state(checkpoint: Path) -> dict[str, Any]:
    """Return what pruning has saved in a checkpoint.

    Raises:
        UsageError: there is nothing.
    """
    file = checkpoint / STATE_FILE
    if not file.is_file():
        raise UsageError(
            f"resume_from_checkpoint={str(checkpoint)!r}: there is no {STATE_FILE} with the scores; give a "
            "checkpoint that PrunedTrainer has saved, without save_only_model"
        )
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state
