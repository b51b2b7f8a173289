"""Spike-aware data pruning as a callback of Lightning's trainer."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sadp_dist.errors import MissingExtra, UsageError
from sadp_dist.loading import PruningSampler
from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.selection import PruningConfig, Shard
from sadp_dist.store import Store, connect

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise MissingExtra("lightning", "lightning") from error


class SpikeAwarePruning(Callback):
    """Each epoch on the subset that the scores select; on one device or, with DDP, on many.

        pruning = SpikeAwarePruning(PruningConfig(ratio=0.5, epochs=10), dataset_size=len(train_set))

        class Network(LightningModule):
            def train_dataloader(self):
                return DataLoader(train_set, batch_size=50, sampler=pruning.sampler(50))

            def training_step(self, batch):
                x, y, index = batch
                return (pruning.weights(index) * cross_entropy(self(x), y, reduction="none")).mean()

        Trainer(max_epochs=10, callbacks=[pruning], use_distributed_sampler=False).fit(Network())

    The loss has to be that: the mean over the batch of weight times loss, and the batch has to come with the
    index of each example. The trainer asks for the training loader anew in each epoch. Its own sampler, which
    would split a rank's share once more, has to be off. Lightning's checkpoints hold the scores.

    Args:
        pruning: how epochs are planned; its `epochs` are at least the trainer's.
        dataset_size: N.
        url: of the store, as in `sadp_dist.connect`.
        run: likewise. A run that is there already under this name is begun anew.
        labels: likewise.
        layers: of the scorer, as in `SpikeAwareScorer`.
        exact: likewise.
        time_steps: likewise.
        options: of the store.

    Attributes:
        store: from the beginning of `fit` on; afterwards it can be asked and saved.
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
        **options: Any,
    ) -> None:
        self._pruning = pruning
        self._run: dict[str, Any] = {"url": url, "run": run, "dataset_size": dataset_size, "labels": labels}
        self._options = options
        self._scoring = layers, exact, time_steps
        self._scorer: SpikeAwareScorer | None = None
        self._trainer: Trainer | None = None
        self._sampler: PruningSampler | None = None

    def sampler(self, batch_size: int) -> PruningSampler:
        """This rank's part of the epoch that comes; `train_dataloader` asks for it.

        Args:
            batch_size: examples per batch on this rank.
        """
        if self._trainer is None:
            raise UsageError("sampler(): the store is there from fit() on; call it in train_dataloader()")
        self._sampler = PruningSampler(self.store, batch_size)
        # What the trainer itself tells its samplers; `current_epoch` is one behind where it resumes.
        progress: Any = self._trainer.fit_loop.epoch_progress.current
        self._sampler.set_epoch(progress.processed)
        return self._sampler

    @property
    def shard(self) -> Shard:
        """This rank's part of the present epoch; `drawn` of it is the number of examples over all ranks."""
        if self._sampler is None:
            raise UsageError("the training loader has no sampler=pruning.sampler(batch_size)")
        return self._sampler.shard

    def weights(self, index: Tensor) -> Tensor:
        """The weights of a batch's examples for the loss of `training_step`, (B,) float32 on their device."""
        if self._sampler is None:
            raise UsageError("the training loader has no sampler=pruning.sampler(batch_size)")
        self._batch = index, self._sampler.weights(index)
        return self._batch[1]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Connect to the store, now that the ranks know each other."""
        if stage != "fit":
            return
        rule = self._pruning.rule
        if rule.needs_scores and rule.score != "gradient":
            raise UsageError(
                f'method="{self._pruning.method}" is scored by the {rule.score}, which this callback does '
                'not see; use "sadp", or sadp-dist train'
            )
        if self._pruning.tracked_epochs:
            raise UsageError(
                f'method="{self._pruning.method}" tracks the network and then trains it anew, which '
                "this callback cannot; use sadp-dist train"
            )
        if not 0 < (trainer.max_epochs or 0) <= self._pruning.run_epochs:
            raise UsageError(
                f"pruning.{self._pruning.epochs_in_words()}, but "
                f"Trainer(max_epochs={trainer.max_epochs}); every epoch needs a pruning ratio: give both "
                "the same"
            )
        self._trainer = trainer
        trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]
        self.store = connect(pruning=self._pruning, **self._run, **self._options)
        self.store.reset()
        if rule.needs_scores:
            self._scorer = SpikeAwareScorer(pl_module, *self._scoring)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loader: Any = trainer.train_dataloader
        samplers = getattr(loader, "sampler", None), getattr(loader.batch_sampler, "sampler", None)
        if self._sampler is None or self._sampler not in samplers:
            raise UsageError(
                "the training loader does not follow pruning.sampler(batch_size): give it as sampler=, and "
                "use_distributed_sampler=False to the Trainer, which otherwise splits each rank's share again"
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
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

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.store.flush()

    def state_dict(self) -> dict[str, Any]:
        """The scores, for Lightning's checkpoint, which every rank writes."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "store.npz")
            self.store.save(file)
            saved = file.read_bytes() if file.exists() else b""  # rank 0's alone
        return {"store": torch.frombuffer(bytearray(saved), dtype=torch.uint8)} if saved else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go back to the scores of a checkpoint."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "store.npz")
            file.write_bytes(state_dict["store"].numpy().tobytes())
            self.store.load(file)
