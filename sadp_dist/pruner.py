"""One object for a training loop of one's own: store, sampler, loader, scorer and weights of a run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from sadp_dist.errors import UsageError
from sadp_dist.loading.indexed_loader import BatchLoader, indexed_loader, refuse_other_datasets
from sadp_dist.loading.mean_loss import weighted_mean
from sadp_dist.loading.pruning_sampler import PruningSampler
from sadp_dist.scoring import SpikeAwareScorer, loss_scores
from sadp_dist.selection import PruningConfig
from sadp_dist.store import EpochRecord, connect

METHOD = "sadp-plus"
"""The pruning rule, unless another one is asked for."""


class Pruner:
    """Trains each epoch on the subset that the scores select, in any training loop of PyTorch.

        pruner = Pruner(model, train_set, ratio=0.5, epochs=200)
        loader = pruner.loader(batch_size=128, num_workers=8)
        for epoch in pruner.epochs():
            for x, y in loader:
                with pruner.step():
                    loss = pruner.mean(cross_entropy(model(x), y, reduction="none"))
                    loss.backward()
                optimizer.step()
                optimizer.zero_grad()

    It is made of parts that you can use by themselves: the store of `sadp_dist.connect`, a `PruningSampler`,
    a `SpikeAwareScorer` and `weighted_mean`. The network may have spikes or not. In a torch.distributed job,
    every rank makes the same calls.

    Make it after `init_process_group` and `fully_shard`, and with torch.compile before the first call of the
    model. A run in Redis or Ray outlives the script: call `pruner.store.reset()` on every rank to begin it
    again.

    Args:
        model: the network, also wrapped by DDP or torch.compile, or sharded by `fully_shard`.
        dataset: map-style, with N examples. It needs no index.
        pruning: how epochs are planned; or give the fields of `PruningConfig` as keywords.
        store: URL of the store, as in `sadp_dist.connect`.
        run: name of the run, as in `sadp_dist.connect`.
        labels: class of each example, as in `sadp_dist.connect`.
        scorer: of the model, for other options than those of `SpikeAwareScorer(model)`.
        store_options: further options of `sadp_dist.connect`.
        options: fields of `PruningConfig`, such as `ratio`. `epochs` is required; `method` is "sadp-plus".

    Attributes:
        pruning: how epochs are planned.
        store: the scores and plans. You can query and save it at any time.
        sampler: of the loader; None before `loader`.
        scorer: of the model; None for a rule that needs no gradient.

    Raises:
        UsageError: an argument is wrong, or the rule needs a score that this object cannot compute.
        StoreUnavailable: the store cannot be reached.
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Any,
        pruning: PruningConfig | None = None,
        *,
        store: str = "memory:",
        run: str = "pruner",
        labels: ArrayLike | None = None,
        scorer: SpikeAwareScorer | None = None,
        store_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        refuse_other_datasets(dataset)
        self.pruning = _pruning(pruning, options)
        rule = self.pruning.rule
        self._score = rule.score if rule.needs_scores else None
        self.scorer = (scorer or SpikeAwareScorer(model)) if self._score == "gradient" else None
        self.store = connect(
            store,
            run=run,
            dataset_size=len(dataset),
            pruning=self.pruning,
            labels=labels,
            **(store_options or {}),
        )
        self.sampler: PruningSampler | None = None
        self._dataset = dataset
        self._loader: BatchLoader | None = None
        self._epoch = 0  # to begin or to continue
        self._in_epochs = False
        self._position: Mapping[str, Any] = {}  # of a state that was loaded before the loader was made
        self._step: _Step | None = None

    # Data

    def loader(self, batch_size: int, **options: Any) -> BatchLoader:
        """Return the loader of this rank's examples, which hands out what `DataLoader(dataset)` would.

        `len(loader)` is the number of batches left in the current epoch. `accelerator.prepare` leaves the
        loader as it is. Read a batch only after the step of the one before.

        Args:
            batch_size: the most examples of a batch on this rank, the same on all ranks. The batches of an
                epoch have nearly equal sizes: see `PruningSampler.batch_sizes`.
            options: any other argument of `torch.utils.data.DataLoader`, except those that choose examples or
                their order: `sampler`, `batch_sampler`, `shuffle`, `drop_last` and `in_order`.

        Raises:
            UsageError: an argument is wrong, or there is a loader already.
        """
        if self._loader is not None:
            raise UsageError("pruner.loader(): this pruner has a loader already; use that one")
        if not isinstance(batch_size, int):
            raise UsageError(f"batch_size={batch_size!r}: must be a number of examples, at least 1")
        sampler = PruningSampler(self.store, batch_size)
        made = BatchLoader(indexed_loader(self._dataset, sampler, options), self._refuse_outside_epochs)
        self.sampler, self._loader = sampler, made
        sampler.load_state_dict(self._position)
        return made

    def epochs(self) -> Iterator[int]:
        """Yield the epochs of the run, from 0, or from where `load_state_dict` left; plan each before.

        Ranks wait here for each other. It warns, once, of an epoch that was not trained on to its end.

        Raises:
            UsageError: there is no loader, or the store has planned a later epoch.
        """
        sampler, loader = self._parts("pruner.epochs()")
        if self._epoch == self.pruning.run_epochs:
            warnings.warn(f"all {self._epoch} epochs of the run are done: none is left", stacklevel=2)
        while self._epoch < self.pruning.run_epochs:
            sampler.set_epoch(self._epoch)
            loader.begin_epoch()
            self._in_epochs = True
            yield self._epoch
            self._epoch += 1
        self._in_epochs = False
        self.store.flush()

    def total_steps(self, accumulate: int = 1) -> int:
        """Return the optimizer steps of the run on this rank, for a schedule over steps such as OneCycleLR.

        Args:
            accumulate: batches in a step. See `PruningSampler.total_batches`.

        Raises:
            UsageError: there is no loader, or `accumulate` is below 1.
        """
        sampler, _ = self._parts("pruner.total_steps()")
        return sampler.total_batches(accumulate=accumulate)

    # A step

    @contextmanager
    def step(self) -> Iterator[None]:
        """Put this around the forward and backward pass of a batch; its scores are pushed at the end.

        For gradient accumulation, each micro-batch has its own `with`. Evaluate outside of it, or inside
        without gradients. If an error is raised inside, nothing is pushed, and the batch does not count as
        trained on.

        Raises:
            UsageError: there is no batch, or more than one since the last step; or, at the end, the mean of
                the losses was not back-propagated.
        """
        sampler, loader = self._parts("pruner.step()")
        self._step = _Step.begin(self._step, loader, sampler)
        try:
            with self.scorer or nullcontext():
                yield
            self._end(self._step, sampler)
            loader.unused = 0
        finally:
            self._step = None

    @torch.compiler.disable
    def mean(self, losses: Tensor) -> Tensor:
        """Return the training loss of the current batch, the mean of weight times loss.

        You may multiply it, for gradient accumulation or by a `GradScaler`, and add other terms: the scores
        do not change with the factor. Several calls in a step belong to the same examples: the scores are
        then in the unit of the first one that is back-propagated.

        Args:
            losses: (B,), one loss per example of the batch, from a criterion with `reduction="none"`.

        Returns:
            A scalar with the dtype and device of `losses`.

        Raises:
            UsageError: it is not called in a step, or the shape is another one.
        """
        if self._step is None:
            raise UsageError("pruner.mean(): call it inside `with pruner.step():`")
        return self._step.mean(losses)

    def skip(self) -> None:
        """Leave out the current batch. Its examples do not count as trained on, so a warning follows."""
        _, loader = self._parts("pruner.skip()")
        loader.unused = 0

    def _end(self, step: _Step, sampler: PruningSampler) -> None:
        """Push the scores of a step, and count its examples as trained on."""
        if self._score is not None:
            call = step.back_propagated()
            coefficients = step.weights.to(call.losses.device) * call.factor / len(step.index)
            if self.scorer is not None:
                scores = self.scorer.scores(coefficients)
            else:
                step.refuse_several(self.pruning.method)
                scores = loss_scores(call.losses, coefficients)
            factor = call.factor.to(scores.device)
            # A GradScaler skips a step whose scaled gradients overflow. In other steps NaN is an error.
            valid = (coefficients.to(scores.device) != 0) & (scores.isfinite() | (factor <= 1))
            self.store.push(step.index, scores, epoch=sampler.epoch, valid=valid)
        sampler.mark_trained(step.index)

    # The state

    def state_dict(self) -> dict[str, Any]:
        """Return the scores and the position in the epoch, for a checkpoint; every rank calls it.

        Call it between two batches, or at the end of an epoch's body. Rank 0's state is the one to keep.
        """
        done = self._in_epochs and self._loader is not None and self._loader.finished
        position = {} if done or self.sampler is None else self.sampler.state_dict()
        return {**self.store.state_dict(), "epoch": self._epoch + done, "position": position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where a pruner was; every rank calls it with rank 0's state, before `epochs`.

        The number of ranks and the batch size may differ.

        Raises:
            UsageError: it is not such a state, or another run's.
        """
        if not {"store", "epoch", "position"} <= state.keys():
            raise UsageError(
                f"load_state_dict: the state has {', '.join(map(str, state)) or 'nothing'}; give all ranks "
                "what pruner.state_dict() returned on rank 0"
            )
        self.store.load_state_dict(state)
        self._epoch, self._position = int(state["epoch"]), state["position"]
        if self.sampler is not None:
            self.sampler.load_state_dict(self._position)

    def report(self) -> PruningReport:
        """Return what pruning has saved so far; call it on rank 0. `print` it to read it."""
        return PruningReport.of(self.store.history(), len(self._dataset))

    # Refusals

    def _parts(self, call: str) -> tuple[PruningSampler, BatchLoader]:
        if self.sampler is None or self._loader is None:
            raise UsageError(f"{call}: there is no loader; call pruner.loader(batch_size=...) before")
        return self.sampler, self._loader

    def _refuse_outside_epochs(self) -> None:
        if not self._in_epochs:
            raise UsageError(
                "the loader has no epoch; read it inside `for epoch in pruner.epochs():`, and for a schedule "
                "over steps ask pruner.total_steps()"
            )


def _pruning(given: PruningConfig | None, options: dict[str, Any]) -> PruningConfig:
    """Return the configuration that was given, or that the keywords make.

    Raises:
        UsageError: there are both or not enough, or the rule is not one for a loop of one's own.
    """
    if given is not None and options:
        raise UsageError(
            f"{', '.join(options)}: give pruning options in the PruningConfig or as keywords, not both"
        )
    if given is None and "epochs" not in options:
        raise UsageError("epochs: give the number of epochs of the run, as its plans depend on it")
    pruning = given or PruningConfig(**{"method": METHOD, **options})
    refuse_other_rules(pruning, "Pruner")
    return pruning


def refuse_other_rules(
    pruning: PruningConfig, who: str, scores: Sequence[str] = ("gradient", "loss")
) -> None:
    """Refuse a rule that is not one for a loop which only trains and pushes scores.

    Args:
        pruning: with the rule.
        who: would have to do what the rule needs, for the message.
        scores: the kinds that it computes.

    Raises:
        UsageError: the rule needs another score, or trains the network twice.
    """
    rule = pruning.rule
    if rule.needs_scores and rule.score not in scores:
        raise UsageError(
            f'method="{pruning.method}" needs the score {rule.score!r}, which {who} cannot compute; use '
            "another method, or sadp-dist train"
        )
    if pruning.tracked_epochs:
        raise UsageError(
            f'method="{pruning.method}" trains the network twice, which {who} cannot do; use sadp-dist train'
        )


class _Call:
    """A call of `Pruner.mean`.

    Attributes:
        losses: (B,), without a graph.
        factor: what the loss was multiplied with when it was back-propagated; 0-dim float32.
    """

    def __init__(self, losses: Tensor) -> None:
        self.losses = losses.detach()
        self.factor = torch.zeros((), device=losses.device)
        self.back_propagated = False

    def add_gradient(self, gradient: Tensor) -> None:
        """Add the gradient of the mean; a hook of it."""
        self.factor = self.factor + gradient.detach().float()
        self.back_propagated = True


class _Step:
    """The batch of a `with pruner.step()`."""

    def __init__(self, index: Tensor, weights: Tensor) -> None:
        self.index, self.weights = index, weights
        self._calls: list[_Call] = []

    @classmethod
    def begin(cls, running: _Step | None, loader: BatchLoader, sampler: PruningSampler) -> _Step:
        """Return the step of the batch that the loader handed out last.

        Raises:
            UsageError: it is not known which batch the step is for.
        """
        if running is not None:
            raise UsageError("pruner.step() inside another one: close the first one before")
        if loader.index is None:
            raise UsageError(
                "pruner.step(): there is no batch; call it inside the loop over pruner.loader(...), and read "
                "a batch only after the step of the one before"
            )
        if loader.unused > 1:
            raise UsageError(
                f"pruner.step(): {loader.unused} batches were read since the last step, so it is not known "
                "which one this is; read a batch only after the step of the one before (no prefetcher), and "
                "call pruner.skip() for a batch that you leave out"
            )
        return cls(loader.index, sampler.weights(loader.index, trained=False))

    def mean(self, losses: Tensor) -> Tensor:
        """Return the weighted mean, and note by which factor it is back-propagated."""
        mean = weighted_mean(losses, self.weights)
        if mean.requires_grad:
            call = _Call(losses)
            mean.register_hook(call.add_gradient)
            self._calls.append(call)
        return mean

    def back_propagated(self) -> _Call:
        """Return the first call that was back-propagated.

        Raises:
            UsageError: there is none.
        """
        for call in self._calls:
            if call.back_propagated:
                return call
        missing = "the mean was not back-propagated" if self._calls else "pruner.mean(losses) was not called"
        raise UsageError(
            f"pruner.step(): {missing} in this step; do both inside of `with pruner.step():`, or the batch "
            "has no scores"
        )

    def refuse_several(self, method: str) -> None:
        """Refuse several losses of an example where the loss itself is the score."""
        if sum(call.back_propagated for call in self._calls) > 1:
            raise UsageError(
                f'pruner.mean() was called several times, but with method="{method}" the loss is the score; '
                "call it once a step, with the sum of the losses"
            )


@dataclass(frozen=True)
class PruningReport:
    """What pruning has saved.

    Attributes:
        epochs: epochs planned so far.
        examples: examples that their plans have drawn, on all ranks.
        full: examples of as many full epochs.
        largest_weight: of all drawn examples; None before the first epoch.
        noise_ratio: the latest one known: below 1, choosing by score makes a step less noisy than drawing
            uniformly. See `StoreStats`.
    """

    epochs: int
    examples: int
    full: int
    largest_weight: float | None
    noise_ratio: float | None

    @classmethod
    def of(cls, history: list[EpochRecord], dataset_size: int) -> PruningReport:
        """Return the report of a store's `history` of a run of N examples."""
        noise = [record.noise_ratio for record in history if record.noise_ratio is not None]
        return cls(
            epochs=len(history),
            examples=sum(record.drawn for record in history),
            full=len(history) * dataset_size,
            largest_weight=max((record.largest_weight for record in history), default=None),
            noise_ratio=noise[-1] if noise else None,
        )

    @property
    def left_out(self) -> float:
        """The share of the examples that was left out, in [0, 1]."""
        return 1 - self.examples / self.full if self.full else 0.0

    def __str__(self) -> str:
        if self.largest_weight is None:
            return "no epoch was planned yet"
        noise = "" if self.noise_ratio is None else f", noise ratio {self.noise_ratio:.2f}"
        return (
            f"{self.epochs} epochs: trained on {self.examples:,} of {self.full:,} examples "
            f"({self.left_out:.1%} left out), largest weight {self.largest_weight:.2f}{noise}"
        )
