"""Spike-aware data pruning as a callback for Lightning's trainer."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

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
    """Trains each epoch on the subset that the scores select, on one device or, with DDP, on several.

        pruning = SpikeAwarePruning(PruningConfig(ratio=0.5, epochs=10), dataset_size=len(train_set))

        class Network(LightningModule):
            def train_dataloader(self):
                return DataLoader(train_set, batch_size=50, sampler=pruning.sampler(50))

            def training_step(self, batch):
                x, y, index = batch
                losses = cross_entropy(self(x), y, reduction="none")
                return weighted_mean(losses, pruning.weights(index))

        Trainer(max_epochs=10, callbacks=[pruning], use_distributed_sampler=False).fit(Network())

    The training loss must be the mean of weight times loss over the batch, and a batch must include the index
    of each example. Set `use_distributed_sampler=False`, or Lightning splits each rank's shard again. The
    callback makes Lightning create the training loader in every epoch. Lightning's checkpoints include the
    scores.

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
        self._sampler: PruningSampler | None = None

    def sampler(self, batch_size: int) -> PruningSampler:
        """Return the sampler of the next epoch on this rank; call it in `train_dataloader`.

        Args:
            batch_size: examples per batch on this rank.

        Raises:
            UsageError: `fit` has not begun.
        """
        trainer = self._running("sampler", "train_dataloader")
        if self._sampler is None or self._sampler.batch_size != batch_size:
            self._sampler = PruningSampler(self.store, batch_size)
        # Lightning passes this number to its samplers. `current_epoch` is one too low after a resume.
        progress: Any = trainer.fit_loop.epoch_progress.current
        self._sampler.set_epoch(progress.processed)
        return self._sampler

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
            raise UsageError("the training loader needs sampler=pruning.sampler(batch_size)")
        return self._sampler.shard

    def weights(self, index: Tensor) -> Tensor:
        """Return the weights of a batch's examples for the training loss, float32 (B,) on their device."""
        if self._sampler is None:
            raise UsageError("the training loader needs sampler=pruning.sampler(batch_size)")
        self._batch = index, self._sampler.weights(index)
        return self._batch[1]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Connect to the store. The process group exists by now."""
        if stage != "fit":
            return
        rule = self._pruning.rule
        if rule.needs_scores and rule.score != "gradient":
            raise UsageError(
                f'method="{self._pruning.method}" needs the score {rule.score!r}, which this callback does '
                'not compute; use "sadp", or sadp-dist train'
            )
        if self._pruning.tracked_epochs:
            raise UsageError(
                f'method="{self._pruning.method}" trains the network twice, which this callback '
                "cannot do; use sadp-dist train"
            )
        if not 0 < (trainer.max_epochs or 0) <= self._pruning.run_epochs:
            raise UsageError(
                f"pruning.{self._pruning.epochs_in_words()}, but "
                f"Trainer(max_epochs={trainer.max_epochs}); every epoch needs a pruning ratio: give both "
                "the same number"
            )
        self._trainer, self._sampler = trainer, None
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
                "the training loader does not use pruning.sampler(batch_size): pass it as sampler=, and pass "
                "use_distributed_sampler=False to the Trainer, which otherwise splits each rank's shard again"
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
        """Return the scores for Lightning's checkpoint; every rank calls this."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "store.npz")
            self.store.save(file)
            saved = file.read_bytes() if file.exists() else b""  # only rank 0 writes the file
        return {"store": torch.frombuffer(bytearray(saved), dtype=torch.uint8)} if saved else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the scores of a checkpoint."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "store.npz")
            file.write_bytes(state_dict["store"].numpy().tobytes())
            self.store.load(file)
