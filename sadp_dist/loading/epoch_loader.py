"""The base of the loaders: an epoch whose reading may begin before it is iterated over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from sadp_dist.errors import UsageError
from sadp_dist.loading.sampler import ShardSampler
from sadp_dist.selection.plan import Shard

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Inputs, labels, index and weight."""

SMALLEST_CROP = 0.08
"""The smallest share of an image's area that a random resized crop has, as in torchvision."""


class EpochLoader(ABC):
    """Batches of a sampler's current epoch.

    Attributes:
        sampler: the sampler.
        dataset_size: N, the examples of the dataset.
    """

    def __init__(self, sampler: ShardSampler, dataset_size: int) -> None:
        self.sampler = sampler
        self.dataset_size = dataset_size
        self._begun: _Begun | None = None

    def __len__(self) -> int:
        """Return the number of batches left in the sampler's current epoch."""
        return self.sampler.batches

    def begin(self) -> None:
        """Start to read the sampler's current epoch; the next iteration yields its batches.

        Call it before you evaluate or save the network, so that the first batches are ready after that. It
        ends an epoch that is still being read.
        """
        size = self.sampler.shard.dataset_size
        if size != self.dataset_size:
            raise UsageError(
                f"the dataset has {self.dataset_size} examples and its sampler {size}; they must agree"
            )
        self._begun = _Begun(self.sampler.shard, len(self.sampler), self._start())

    def crop_to(self, image_size: int, smallest: float = SMALLEST_CROP) -> None:  # noqa: B027 - may do nothing
        """Crop the images of later epochs to another size; does nothing without random crops.

        Args:
            image_size: height and width, in pixels.
            smallest: the smallest share of an image's area that a crop has, in (0, 1].
        """

    def state_dict(self) -> dict[str, Any]:
        """Return the sampler's state: the batches handed out so far are done."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where a loader or a sampler was: see `PruningSampler.load_state_dict`."""
        self._begun = None
        self.sampler.load_state_dict(state)

    @abstractmethod
    def _start(self) -> Iterator[Batch]:
        """Start to read the sampler's current epoch, and return its batches."""

    def __iter__(self) -> Iterator[Batch]:
        begun = self._begun
        if begun is None or begun.shard is not self.sampler.shard or begun.left != len(self.sampler):
            self.begin()
            begun = self._begun
        self._begun = None
        assert begun is not None
        self.sampler.begin_pass()
        for batch in begun.batches:
            self.sampler.mark_batch(len(batch[2]))
            yield batch


class _Begun(NamedTuple):
    """An epoch that is being read.

    Attributes:
        shard, left: the sampler's shard, and how many examples were left of it, when reading began.
        batches: its batches.
    """

    shard: Shard
    left: int
    batches: Iterator[Batch]
