"""The iterator of a sampler, which knows how many indices it has given out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from operator import length_hint
from typing import TYPE_CHECKING, Any, cast

from sadp_dist.errors import UsageError
from sadp_dist.loading.epoch_position import ShardProgress

if TYPE_CHECKING:
    from sadp_dist.loading.sampler import ShardSampler

CHUNK = 4096
"""Indices converted to Python integers at a time. A list of the whole shard would take 36 bytes per index."""


class ShardIterator(chain[int]):
    """Iterates over what is left of a sampler's epoch; `iterate` makes one.

    It begins when the first index is asked for. Its `state_dict` is about the indices that it has given out,
    which torchdata's StatefulDataLoader needs because it reads ahead. The sampler's is about what was
    trained on.
    """

    _sampler: ShardSampler
    _progress: ShardProgress | None = None
    _chunk: Iterator[int] = iter(())
    _end = 0

    @property
    def position(self) -> int:
        """Place of the next index in the shard."""
        return self._end - length_hint(self._chunk)

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the indices so far."""
        if self._progress is None:
            return self._sampler.state_dict()
        return self._progress.position(self.position).state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin where an iterator with that state was.

        Raises:
            UsageError: this iterator has given out indices, or `state` is not a state.
        """
        if self._progress is not None:
            raise UsageError("load_state_dict: this iterator has begun; load the state into a new one")
        self._sampler.load_state_dict(state)

    def _chunks(self) -> Iterator[Iterator[int]]:
        sampler = self._sampler
        indices, self._end = sampler.shard.indices, sampler.start
        self._progress = sampler.progress
        sampler.begin_pass()
        for begin in range(sampler.start, len(indices), CHUNK):
            self._end = min(begin + CHUNK, len(indices))
            self._chunk = iter(indices[begin : self._end].tolist())
            yield self._chunk
        sampler.end_pass()


def iterate(sampler: ShardSampler) -> ShardIterator:
    """Return an iterator over what is left of the sampler's epoch when it begins."""

    def chunks() -> Iterator[Iterator[int]]:
        yield from made._chunks()

    made = cast(ShardIterator, ShardIterator.from_iterable(chunks()))  # of this class, at run time
    made._sampler = sampler
    return made
