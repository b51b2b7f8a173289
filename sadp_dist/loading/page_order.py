"""An order for data larger than memory: page after page of the file, mixed over a window of pages.

A rank's examples come at times: those of the page at place k of a random order of pages at random times
between k - window / 2 and k + window / 2. So every page is needed in one stretch of the epoch, about `window`
pages are needed at a time, and each batch mixes all of those. With a window of twice the pages and more,
the order is as random as any.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import UsageError
from sadp_dist.loading.rng_streams import LoadingStream
from sadp_dist.selection.random import uniform


@dataclass(frozen=True)
class PageOrder:
    """A random order in which a file is read a few pages at a time.

    Attributes:
        pages: (N,) integers >= 0, the page that each example lies on; `beton_pages` reads them.
        window: pages to mix, about as many as are needed at a time.
        seed: of the random numbers, which depend on (seed, epoch, page) and (seed, epoch, index) alone.

    Raises:
        UsageError: a window of no page.
    """

    pages: NDArray[np.int64]
    window: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.window < 1:
            raise UsageError(f"window={self.window}: must be at least 1 page")

    def order(self, indices: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Where each example of the new order stands in `indices`; int64 (len(indices),)."""
        pages = self.pages[indices]
        needed = np.flatnonzero(np.bincount(pages))
        place = np.empty(int(needed.max(initial=-1)) + 1)
        by_chance = np.argsort(uniform(self.seed, epoch, needed, LoadingStream.PAGE), kind="stable")
        place[needed[by_chance]] = np.arange(len(needed)) + 0.5
        begin = np.maximum(place[pages] - self.window / 2, 0)
        end = np.minimum(place[pages] + self.window / 2, len(needed))
        when = begin + (end - begin) * uniform(self.seed, epoch, indices, LoadingStream.MIX)
        return np.argsort(when, kind="stable")
