"""Spike-aware data pruning as a callback for Lightning's trainer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

from numpy.typing import ArrayLike
from torch import Tensor

from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.loading import PruningSampler
from sadp_dist.loading.batch_sizes import BatchIndices
from sadp_dist.loading.epoch_position import EpochPosition
from sadp_dist.pruner import refuse_other_rules
from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.selection import PruningConfig, Shard
from sadp_dist.store import Store, connect

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise MissingExtra("lightning", "lightning") from error


class SpikeAwarePruning(Callback):
    """Trains each epoch on the subset that the scores select, on one device or, with DDP, on several.

        pruning = SpikeAwarePruning(PruningConfig(ratio=0.5, epochs=10), dataset_size=len(train_set))

        class Network(LightningModule):
            def train_dataloader(self):
                return DataLoader(train_set, batch_sampler=pruning.batch_sampler(50))

            def training_step(self, batch):
                x, y, index = batch
                losses = cross_entropy(self(x), y, reduction="none")
                return weighted_mean(losses, pruning.weights(index))

        Trainer(max_epochs=10, callbacks=[pruning], use_distributed_sampler=False).fit(Network())

    The training loss must be the mean of weight times loss over the batch, and a batch must include the index
    of each example. Set `use_distributed_sampler=False`, or Lightning splits each rank's shard again. The
    callback makes Lightning create the training loader in every epoch. Lightning's checkpoints include the
    scores and the position in the epoch, so `fit(ckpt_path=...)` continues in the middle of an epoch.

    Args:
        pruning: how epochs are planned. Its `epochs` must be at least the trainer's `max_epochs`.
        dataset_size: N.
        url: URL of the store, as in `sadp_dist.connect`.
        run: name of the run, as in `sadp_dist.connect`. An existing run of this name is reset.
        labels: class of each example, as in `sadp_dist.connect`.
        layers: layers to score, as in `SpikeAwareScorer`.
        exact: exact norms, as in `SpikeAwareScorer`.
        time_steps: T, as in `SpikeAwareScorer`.
        layout: as in `SpikeAwareScorer`.
        bias: as in `SpikeAwareScorer`.
        options: further options of `sadp_dist.connect`.

    Attributes:
        store: the store, which exists once `fit` has begun. You can query and save it afterwards.
    """

    store: Store

    def __init__(
        self,
        pruning: PruningConfig,
        dataset_size: int,
        url: str = "memory:",
        run: str = "lightning",
        labels: ArrayLike | None = None,
        layers: str | Sequence[str] = "last",
        exact: bool = False,
        time_steps: int | None = None,
        layout: Literal["time", "batch"] | None = None,
        bias: bool = True,
        **options: Any,
    ) -> None:
        self._pruning = pruning
        self._run: dict[str, Any] = {"url": url, "run": run, "dataset_size": dataset_size, "labels": labels}
        self._options = options
        self._scoring = layers, exact, time_steps, layout, bias
        self._scorer: SpikeAwareScorer | None = None
        self._trainer: Trainer | None = None
        self._sampler: _CountedSampler | None = None
        self._resumed: dict[str, Any] | None = None  # of the checkpoint, until the first batch
        self._older_checkpoint = False

    def batch_sampler(self, batch_size: int) -> BatchIndices:
        """Return the batches of the next epoch on this rank; call it in `train_dataloader`.

        Args:
            batch_size: the most examples of a batch on this rank; all batches have nearly the same size.

        Raises:
            UsageError: `fit` has not begun.
        """
        trainer = self._running("batch_sampler", "train_dataloader")
        if self._sampler is None or self._sampler.batch_size != batch_size:
            self._sampler = _CountedSampler(self.store, batch_size)
        # Lightning passes this number to its samplers. `current_epoch` is one too low after a resume.
        progress: Any = trainer.fit_loop.epoch_progress.current
        epoch, batches = progress.processed, 0
        if self._older_checkpoint and progress.ready > epoch:
            self._resumed = self._position_by_lightning(epoch, batch_size)
        if self._resumed is not None and epoch <= self._resumed["epoch"]:
            # In configure_optimizers, Lightning does not know yet that it resumes.
            epoch, batches = self._resumed["epoch"], self._resumed["batches"]
            self._sampler.load_state_dict(self._resumed)
            warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch")
        self._sampler.set_epoch(epoch)
        self._sampler.batches_before = batches
        return _CountedBatches(self._sampler)

    def _position_by_lightning(self, epoch: int, batch_size: int) -> dict[str, Any]:
        """Return the position in a checkpoint that has none, for the same number of ranks and batch size."""
        assert self._trainer is not None
        progress: Any = self._trainer.fit_loop.epoch_loop.batch_progress.current
        taken = ((self._trainer.world_size, progress.processed * batch_size),)
        return {**EpochPosition(epoch, taken).state_dict(), "batches": progress.processed}

    def total_steps(self, batch_size: int) -> int:
        """Return the optimizer steps of the whole run, for a schedule over steps such as OneCycleLR.

        Call it in `configure_optimizers`. `trainer.estimated_stepping_batches` counts the present epoch's
        batches for every epoch, but later epochs have fewer. See `PruningSampler.total_batches`.

        Args:
            batch_size: examples per batch on this rank.

        Raises:
            UsageError: `fit` has not begun.
        """
        trainer = self._running("total_steps", "configure_optimizers")
        sampler = PruningSampler(self.store, batch_size)
        return sampler.total_batches(trainer.max_epochs, trainer.accumulate_grad_batches)

    def _running(self, call: str, hook: str) -> Trainer:
        """Return the trainer; raise UsageError for a call before fit(), with the hook that it belongs in."""
        if self._trainer is None:
            raise UsageError(f"{call}(): the store does not exist before fit(); call {call}() in {hook}()")
        return self._trainer

    @property
    def shard(self) -> Shard:
        """This rank's shard of the current epoch; its `drawn` is the number of examples over all ranks."""
        if self._sampler is None:
            raise UsageError("the training loader needs batch_sampler=pruning.batch_sampler(batch_size)")
        return self._sampler.shard

    def weights(self, index: Tensor) -> Tensor:
        """Return the weights of a batch's examples for the training loss, float32 (B,) on their device."""
        if self._sampler is None:
            raise UsageError("the training loader needs batch_sampler=pruning.batch_sampler(batch_size)")
        self._batch = index, self._sampler.weights(index)
        return self._batch[1]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Connect to the store. The process group exists by now."""
        if stage != "fit":
            return
        refuse_other_rules(self._pruning, "this callback", scores=["gradient"])
        if not 0 < (trainer.max_epochs or 0) <= self._pruning.run_epochs:
            raise UsageError(
                f"pruning.{self._pruning.epochs_in_words()}, but "
                f"Trainer(max_epochs={trainer.max_epochs}); every epoch needs a pruning ratio: give both "
                "the same number"
            )
        self._trainer, self._sampler, self._resumed = trainer, None, None
        self._older_checkpoint = False
        trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]
        self.store = connect(pruning=self._pruning, **self._run, **self._options)
        self.store.reset()
        if self._pruning.rule.needs_scores:
            self._scorer = SpikeAwareScorer(pl_module, *self._scoring)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loader: Any = trainer.train_dataloader
        batches = getattr(loader, "batch_sampler", None)
        own = isinstance(batches, BatchIndices) and batches.sampler is self._sampler
        if self._sampler is None or not own:
            raise UsageError(
                "the training loader does not use pruning.batch_sampler(batch_size): pass it as "
                "batch_sampler=, and pass use_distributed_sampler=False to the Trainer, which otherwise "
                "splits each rank's shard again"
            )
        steps = self.total_steps(self._sampler.batch_size)
        for config in trainer.lr_scheduler_configs:
            planned = getattr(config.scheduler, "total_steps", None)
            if config.interval == "step" and isinstance(planned, int) and planned != steps:
                warnings.warn(
                    f"{type(config.scheduler).__name__}(total_steps={planned}): the run has {steps} steps, "
                    "as pruning changes the length of an epoch; pass "
                    f"total_steps=pruning.total_steps({self._sampler.batch_size})",
                    stacklevel=2,
                )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._resumed, self._older_checkpoint = None, False
        if self._scorer is not None:
            self._scorer.__enter__()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._scorer is None:
            return
        self._scorer.__exit__(None, None, None)
        index, weights = self._batch
        coefficients = weights / (len(index) * trainer.accumulate_grad_batches)
        grad_scaler = getattr(trainer.precision_plugin, "scaler", None)
        scores = self._scorer.scores(coefficients, grad_scaler)
        valid = (weights > 0) & ~scores.isnan() if grad_scaler is not None else weights > 0
        assert self._sampler is not None
        self.store.push(index, scores, epoch=self._sampler.epoch, valid=valid)
        self._scorer.__enter__()  # an optimizer with a closure, such as LBFGS, runs the batch again

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._scorer is not None:
            self._scorer.__exit__(None, None, None)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.store.flush()

    def state_dict(self) -> dict[str, Any]:
        """Return the scores and the position in the epoch, for Lightning's checkpoint, on every rank."""
        state: dict[str, Any] = self.store.state_dict()
        if state and self._sampler is not None and self._trainer is not None:
            progress: Any = self._trainer.fit_loop.epoch_loop.batch_progress.current
            state["position"] = self._sampler.after(progress.processed)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the scores and the position of a checkpoint."""
        self.store.load_state_dict(state_dict)
        self._resumed = state_dict.get("position")
        self._older_checkpoint = self._resumed is None  # of a release without positions


class _CountedSampler(PruningSampler):
    """A sampler in an epoch that Lightning may have begun before.

    Attributes:
        batches_before: the batches of this epoch that Lightning counts as done.
    """

    batches_before = 0

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Go to an epoch. Lightning calls this again for the current one, which changes nothing."""
        if self._loaded is not None or self._shard is None or epoch != self._shard.epoch:
            super().set_epoch(epoch, start_batch)

    def after(self, batches: int) -> dict[str, Any]:
        """Return the state after so many batches of this epoch, and that number.

        A batch that has begun when a run is interrupted is not done.
        """
        done = self.start + int(self.batch_sizes[: max(batches - self.batches_before, 0)].sum())
        return {**self.progress.position(done).state_dict(), "batches": batches}


class _CountedBatches(BatchIndices):
    """Batches whose number includes those before a resume, which Lightning counts."""

    sampler: _CountedSampler

    def __len__(self) -> int:
        return self.sampler.batches_before + super().__len__()
