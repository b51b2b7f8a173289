"""Batches that carry what the plan says of them through a trainer of another library."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from sadp_dist.errors import UsageError
from sadp_dist.loading import PruningSampler
from sadp_dist.loading.batch_sizes import even_sizes

KEY = "sadp_dist"
"""In the inputs of a training step: their `Planned`."""


@dataclass
class Planned:
    """What the plan says of a batch.

    Attributes:
        index: int64 (B,), its examples.
        weights: float32 (B,).
        step_size: examples of its optimizer step on this rank.
        is_padding: it repeats the batch before, with weight 0, to fill up the step.
    """

    index: Tensor
    weights: Tensor
    step_size: int
    is_padding: bool = False


class Step:
    """A training step on a batch."""

    def __init__(self, planned: Planned) -> None:
        self.planned = planned
        self.losses: Tensor | None = None

    def loss(self, losses: Tensor) -> Tensor:
        """Return Σ w l, divided by the examples of the optimizer step.

        Raises:
            UsageError: there is not one loss per example.
        """
        weights = self.planned.weights
        if losses.shape != weights.shape:
            raise UsageError(
                f"compute_loss_func: returned shape {list(losses.shape)} for a batch of {len(weights)}; must "
                f'be one loss per example, shape [{len(weights)}], from a criterion with reduction="none"'
            )
        self.losses = losses.detach()
        return (weights.to(losses.device, losses.dtype) * losses).sum() / self.planned.step_size


class PlannedLoader:
    """The batches of the sampler's current epoch, each with its `Planned`.

    Every step has all of its batches, as `Trainer` makes no step of fewer in an epoch that is shorter than
    others.

    Attributes:
        dataset: the dataset, without columns that the model does not take.
        batch_size: the most examples of a batch on this rank.
    """

    def __init__(self, loader: DataLoader[Any], sampler: PruningSampler, seed: int) -> None:
        self._loader, self._sampler, self._seed = loader, sampler, seed
        self.dataset = loader.dataset.dataset  # type: ignore[attr-defined]
        self.batch_size = sampler.batch_size

    def __len__(self) -> int:
        """Return the most batches that an epoch may have."""
        sampler = self._sampler
        whole = ceil(len(self.dataset) / sampler.world_size)
        batches = len(even_sizes(whole, sampler.batch_size, sampler.accumulate))
        return ceil(batches / sampler.accumulate) * sampler.accumulate

    def __iter__(self) -> Iterator[MutableMapping[str, Any]]:
        sampler, accumulate = self._sampler, self._sampler.accumulate
        sizes = sampler.batch_sizes
        self._loader.generator.manual_seed(self._seed + sampler.epoch)
        number, last, planned = 0, {}, None
        for number, (index, inputs) in enumerate(self._loader, 1):
            if not isinstance(inputs, MutableMapping):
                raise UsageError(
                    f"data_collator: returned {type(inputs).__name__}; must be a dict of the model's inputs"
                )
            first = (number - 1) // accumulate * accumulate
            weights = sampler.weights(index, trained=False)
            planned = Planned(index, weights, int(sizes[first : first + accumulate].sum()))
            last = {**inputs}
            inputs[KEY] = planned
            yield inputs
        while planned is not None and number % accumulate:
            number += 1
            no_weights = torch.zeros_like(planned.weights)
            yield {**last, KEY: Planned(planned.index, no_weights, planned.step_size, is_padding=True)}
