"""A sampler for distributed training with a weight per example: without replacement, exact, unbiased."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch.distributed as dist
from numpy.typing import ArrayLike, NDArray

from sadp_dist.errors import UsageError
from sadp_dist.loading.epoch_position import Taken
from sadp_dist.loading.sampler import TrainingSampler
from sadp_dist.selection.plan import Shard, is_integer, shard
from sadp_dist.selection.probabilities import check_scores, optimal_probabilities
from sadp_dist.selection.random import Stream, shuffled, stream_key
from sadp_dist.selection.sampling import draw_packed


class DistributedWeightedSampler(TrainingSampler):
    """Draws S of N examples in each epoch, with p in proportion to weights, and splits them over ranks.

        sampler = DistributedWeightedSampler(weights, num_samples=50_000, batch_size=128)
        loader = DataLoader(train_set, batch_sampler=sampler.batch_sampler)
        for epoch in range(90):
            sampler.set_epoch(epoch)
            for x, y in loader: ...

    torch's `WeightedRandomSampler` draws with replacement, at most from 2^24 examples, and alike on no two
    ranks. This one draws without replacement exactly S examples, for any N, and every example is on one rank:

    - p = min(w / α, 1) with Σ p = S. An example whose weight is too large for p ∝ w is in every epoch. An
      example with w = 0 is never drawn.
    - All ranks get ceil(S / world size) examples. If S does not divide evenly, some repeat one, which has
      weight 0 in `weights(index)`. Choose S as a multiple of the number of ranks to have no repeats.
    - `weights(index)` are the importance weights S / (N p). With them Σ w x / S over the subset is an
      unbiased estimate of the mean of x over the examples with w > 0, as far as N counts only those. Do not
      use them if the draw is meant to change what is learned, such as in balancing classes.
    - The subset depends on the weights, the seed and the epoch only, not on the number of ranks.
    - `state_dict` in the middle of an epoch can be loaded by a job with another number of ranks. The weights
      are not in it: give the new sampler those of that epoch.

    Make one on every rank, with the same arguments, and call `set_epoch` before each epoch. It is O(N).

    Args:
        weights: (N,) w, numbers >= 0, finite; of any dtype. They are copied.
        num_samples: S, over all ranks; at most the number of examples with w > 0.
        batch_size: the most examples of a batch on this rank.
        rank: the rank, by default that of torch.distributed (0 without a process group).
        world_size: the number of ranks, by default that of torch.distributed (1 without a process group).
        seed: of the draws.

    Attributes:
        num_samples: S.
        seed: of the draws.

    Raises:
        UsageError: an argument is out of its range; or, from `set_epoch`, the ranks have different arguments.
    """

    _restore = "give the sampler the weights, num_samples and seed that it had in that epoch"

    def __init__(
        self,
        weights: ArrayLike,
        num_samples: int,
        batch_size: int = 1,
        rank: int | None = None,
        world_size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, rank, world_size)
        self._in_group = rank is None and world_size is None and self.world_size > 1
        if not is_integer(seed) or not 0 <= seed < 2**64:
            raise UsageError(f"seed={seed!r}: must be an integer in [0, 2^64)")
        self.seed, self.num_samples = int(seed), num_samples
        self.set_weights(weights)

    def set_weights(self, weights: ArrayLike, num_samples: int | None = None) -> None:
        """Change the weights from the next `set_epoch` on; call it on every rank with the same values.

        Args:
            weights: (N,) w, as for the sampler.
            num_samples: S, if it changes too.

        Raises:
            UsageError: an argument is out of its range.
        """
        w = _checked(weights)
        S = self.num_samples if num_samples is None else num_samples
        if not is_integer(S) or S < 0:
            raise UsageError(f"num_samples={S!r}: must be an integer, at least 0")
        positive = int(np.count_nonzero(w))
        if positive < S:
            raise UsageError(
                f"num_samples={S}: only {positive} of {len(w)} weights are above 0, and no example is drawn "
                f"twice; must be at most {positive}"
            )
        self.num_samples, self._dataset_size = int(S), len(w)
        self._p = optimal_probabilities(w, float(S), 0.0)
        self._compared = False

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """p, the probability of each example to be in an epoch's subset; float64 (N,), read-only."""
        view = self._p.view()
        view.flags.writeable = False
        return view

    def _enter(self, shard: Shard, start: int, taken: Taken = ()) -> None:
        super()._enter(shard, start, taken)
        if self._watch is not None:
            self._watch.weights_read = True  # whether losses are multiplied by weights is a choice here

    def _plan(self, epoch: int) -> Shard:
        if not self._compared:
            self._compare_ranks()
            self._compared = True
        return self._plan_of(epoch, self.rank, self.world_size)

    def _plan_of(self, epoch: int, rank: int, world_size: int) -> Shard:
        N, S = self._dataset_size, self.num_samples
        drawn = draw_packed(self._p, self.seed, epoch, "systematic")
        subset = np.flatnonzero(np.unpackbits(drawn, count=N, bitorder="little"))
        n = len(subset)
        everyone = np.full(-(-n // 8), 255, np.uint8)
        order = subset[shuffled(everyone, n, stream_key(self.seed, epoch, Stream.SHUFFLE))]
        importance = S / N / self._p[order] if N else np.empty(0)
        indices, weights = shard(order, importance, rank, world_size)
        return Shard(indices, weights, S, N, 1 - S / N if N else 0.0, epoch, n)

    def _compare_ranks(self) -> None:
        """Refuse ranks with other arguments, whose subsets would not fit together.

        Raises:
            UsageError: on every rank.
        """
        if not self._in_group:
            return
        own = {
            "num_samples": self.num_samples,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "weights": f"{len(self._p)} with checksum {zlib.crc32(self._p.data):08x}",
        }
        every: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(every, own)
        for name in own:
            values = [theirs[name] for theirs in every]
            for rank, value in enumerate(values):
                if value != values[0]:
                    raise UsageError(
                        f"{name}: rank 0 has {values[0]}, rank {rank} has {value}; give all ranks the same"
                    )


def _checked(weights: ArrayLike) -> NDArray[np.floating]:
    """Return weights as floats, in a unit in which their sum is finite.

    Raises:
        UsageError: they are no (N,) finite numbers >= 0.
    """
    w = np.asarray(weights)
    if w.ndim != 1 or w.dtype.kind not in "fiub":
        raise UsageError(f"weights: {w.dtype} {w.shape}; must be numbers of shape (N,)")
    if w.size and not (w.min() >= 0 and w.max() < np.inf):
        wrong = int(np.argmin((w >= 0) & (w < np.inf)))
        raise UsageError(f"weights[{wrong}]={w[wrong]}: must be a finite number, at least 0")
    return check_scores(w)[0]
