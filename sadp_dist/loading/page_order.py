"""An order for data larger than memory: the file's pages in random order, mixed over a window of pages.

Every example of a rank gets a random time, and examples are ordered by time. An example on the k-th page of a
random order of pages gets a time between k - window / 2 and k + window / 2. So a page is needed in one part
of the epoch only, about `window` pages are needed at a time, and each batch mixes all of these. If the window
is at least twice the number of pages, the order is fully random.
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
        pages: (N,) integers >= 0, the page of each example; `beton_pages` reads them.
        window: pages to mix; about this many are needed at a time.
        seed: seed of the random numbers, which depend on (seed, epoch, page) and (seed, epoch, index) alone.

    Raises:
        UsageError: the window is less than 1.
    """

    pages: NDArray[np.int64]
    window: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.window < 1:
            raise UsageError(f"window={self.window}: must be at least 1 page")

    def order(self, indices: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return the new order as positions in `indices`, int64 (len(indices),)."""
        pages = self.pages[indices]
        needed = np.flatnonzero(np.bincount(pages))
        place = np.empty(int(needed.max(initial=-1)) + 1)
        by_chance = np.argsort(uniform(self.seed, epoch, needed, LoadingStream.PAGE), kind="stable")
        place[needed[by_chance]] = np.arange(len(needed)) + 0.5
        begin = np.maximum(place[pages] - self.window / 2, 0)
        end = np.minimum(place[pages] + self.window / 2, len(needed))
        when = begin + (end - begin) * uniform(self.seed, epoch, indices, LoadingStream.MIX)
        return np.argsort(when, kind="stable")
