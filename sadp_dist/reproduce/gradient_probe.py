"""True per-example gradient norms of a run's network, and the scores to compare with them.

The network is in evaluation mode: with running statistics in batch norm, an example's gradient does not
depend on the other examples of its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor

from sadp_dist.loading.sampler import ShardSampler
from sadp_dist.reproduce.job import Job
from sadp_dist.scoring import Outputs, SpikeAwareScorer, output_scores
from sadp_dist.selection.plan import Shard
from sadp_dist.store import open_snapshot
from sadp_dist.store.backends.saved import checkpoint_place
from sadp_dist.training.checkpoint import Checkpoints, read_state
from sadp_dist.training.processes import Process, device_of
from sadp_dist.training.trainer import Trainer

BATCH = 100


class Probe:
    """Some training examples of a run, and its network at a checkpoint.

    Args:
        job: a finished run.
        count: number of examples, spread evenly over the dataset.

    Attributes:
        indices: (n,) of the examples.
        dataset_size: N.
    """

    def __init__(self, job: Job, count: int) -> None:
        self._trainer = Trainer(job.config, Process(0, 1, device_of(0, 1)))
        self._checkpoints = Checkpoints(job.run_dir)
        self.dataset_size = self._trainer.data.size
        self.indices = np.unique(np.linspace(0, self.dataset_size - 1, count).astype(np.int64))
        self._network = self._trainer.learner.network
        self.at(self.checkpoints[-1])

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoints that the run kept, oldest first."""
        return self._checkpoints.all()

    def at(self, checkpoint: Path) -> None:
        """Load the weights of a checkpoint."""
        self._checkpoint = checkpoint
        self._network.load_state_dict(read_state(checkpoint)["network"])
        self._network.eval()

    def ends_of_epochs(self) -> Iterator[tuple[int, Path]]:
        """Load the checkpoint after each epoch but the last; yield how many are over, and its folder."""
        for checkpoint in self.checkpoints:
            epoch, batch = checkpoint_place(checkpoint) or (0, 0)
            if batch == 0 and 0 < epoch < self._trainer.config.pruning.run_epochs:
                self.at(checkpoint)
                yield epoch, checkpoint

    @cached_property
    def _examples(self) -> tuple[Tensor, Tensor, Tensor]:
        """The examples as they are loaded, their labels and their indices."""
        sampler: Any = _Chosen(self.indices, self.dataset_size)
        batches = [batch[:3] for batch in self._trainer.data.train_loader(sampler)]
        images, labels, indices = (torch.cat(parts) for parts in zip(*batches, strict=True))
        return images, labels, indices

    def _losses(self, some: slice, epoch: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return losses (B,), logits [T, B, K] and labels (B,) of some of the examples.

        Args:
            some: of them.
            epoch: whose augmentation to apply; None for none.
        """
        images, labels, indices = self._examples
        data, chosen = self._trainer.data, images[some]
        if epoch is not None:
            chosen = data.augment(chosen, indices[some], epoch)
        logits = self._network(data.normalise(chosen))
        return self._trainer.learner.loss(logits, labels[some]), logits, labels[some]

    def norms(self, epoch: int | None = None) -> NDArray[np.float64]:
        """Return ‖∇_W ℓ_i‖ over the weights of all layers (Eq. 6), (n,): one backward pass per example.

        Args:
            epoch: of whose augmented examples; None for the examples as they are.
        """
        layers = SpikeAwareScorer(self._network, "all").layers
        weights = [self._network.get_parameter(f"{name}.weight") for name in layers]
        found = []
        for i in range(len(self.indices)):
            losses, _, _ = self._losses(slice(i, i + 1), epoch)
            gradients = torch.autograd.grad(losses.sum(), weights)
            found.append(torch.stack([gradient.norm() for gradient in gradients]).norm().item())
        return np.array(found)

    def gradient_scores(self, layers: str, exact: bool = False) -> NDArray[np.float64]:
        """Return the scores of these layers' weights, (n,): Eq. 29, or Eqs. 6 to 8 if `exact`."""
        time_steps = self._trainer.config.network.time_steps
        scorer = SpikeAwareScorer(self._network, layers, exact, time_steps, bias=False)

        def scores(some: slice) -> Tensor:
            with scorer:
                losses, _, _ = self._losses(some)
                losses.sum().backward()
            self._network.zero_grad(set_to_none=True)
            return scorer.scores(torch.ones_like(losses))

        return self._batch_by_batch(scores)

    def stored_scores(self) -> NDArray[np.float64]:
        """Return what the run's store knew at the loaded checkpoint, (n,), as its plans use it.

        An example without a score has the mean of the others, as in planning.
        """
        scores = open_snapshot(self._checkpoint).scores(self.indices).astype(np.float64)
        return np.where(np.isnan(scores), np.nanmean(scores), scores)

    def losses(self) -> NDArray[np.float64]:
        """Return the losses as scores, (n,)."""
        return self._batch_by_batch(lambda some: self._losses(some)[0])

    def errors(self) -> NDArray[np.float64]:
        """Return the EL2N scores, (n,): the distance of the prediction from the label."""

        def scores(some: slice) -> Tensor:
            losses, logits, labels = self._losses(some)
            return output_scores("el2n", Outputs(logits, labels, losses, torch.ones_like(losses)))

        return self._batch_by_batch(scores)

    @torch.no_grad()
    def sparsity(self) -> float:
        """Return the share of zeros in the spike tensors of all neurons and time steps."""
        counts = torch.zeros(2, dtype=torch.float64)

        def count(module: torch.nn.Module, inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
            counts.add_(torch.tensor([float((spikes == 0).sum()), float(spikes.numel())]))

        neurons = [module for module in self._network.modules() if isinstance(module, BaseNode)]
        hooks = [neuron.register_forward_hook(count) for neuron in neurons]
        self.losses()
        for hook in hooks:
            hook.remove()
        return float(counts[0] / counts[1])

    def close(self) -> None:
        self._trainer.store.close()

    def _batch_by_batch(self, scores: Callable[[slice], Tensor]) -> NDArray[np.float64]:
        starts = range(0, len(self.indices), BATCH)
        found = [scores(slice(start, start + BATCH)).detach().cpu() for start in starts]
        return torch.cat(found).double().numpy()


class _Chosen(ShardSampler):
    """A sampler of some examples in order, each with weight 1."""

    def __init__(self, indices: NDArray[np.int64], dataset_size: int) -> None:
        super().__init__(BATCH, 0, 1)
        self._indices, self._size = indices, dataset_size
        self.set_epoch(0)

    def _plan(self, epoch: int) -> Shard:
        n = len(self._indices)
        return Shard(self._indices, np.ones(n), n, self._size, 0.0, epoch, n)
