"""Files larger than memory: bytes read per epoch, compared with the minimum, and the shuffle.

The layout of the file is simulated: 1,281,167 images of 110 kB on average (lognormal), in pages of 8 MiB, as
eight processes write them in turns of a hundred images. Each epoch draws half of the examples, for eight
ranks. The minimum is to read every page that has a drawn example once, over all ranks.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Options, Plot, Ratio, Result, Table
from sadp_dist import PruningConfig
from sadp_dist.loading import PageOrder
from sadp_dist.loading.page_cache import PREFETCH, schedule
from sadp_dist.selection import plan_epoch
from sadp_dist.training.config import SHARD_BLOCK

RANKS = 8
BATCH = 128
PAGE = 1 << 23
PAGE_MIB = PAGE >> 20
WINDOWS = (1, 8, 64, 256)
SINGLE, BLOCKS = "single examples", "blocks"
"""What a rank gets of the drawn examples."""
NEVER = 1 << 30
"""A window wider than any file: as random as without one."""


def measure(options: Options) -> Result:
    """Measure pages read and held, the classes in a batch, and the distance between neighbours, by order."""
    N = 200_000 if options.short else 1_281_167
    pages = written_pages(N)
    classes = np.arange(N) * 1000 // N  # an ImageFolder, written class after class
    dealing = {SINGLE: None, BLOCKS: SHARD_BLOCK}
    shards = {name: drawn_by_rank(N, block) for name, block in dealing.items()}
    least = len(np.unique(pages[np.concatenate(shards[BLOCKS])]))
    reading, mixing, uneven, extra = [], [], {}, {}
    for deal, window in [(SINGLE, NEVER), (SINGLE, 256), *((BLOCKS, w) for w in (*WINDOWS, NEVER))]:
        ordering = PageOrder(pages, window)
        orders = [indices[ordering.order(indices, 0)] for indices in shards[deal]]
        read = sum(len(np.unique(pages[order])) for order in orders)
        held = max(
            schedule(np.split(pages[order], range(BATCH, len(order), BATCH)), PREFETCH).slots
            for order in orders
        )
        shown = "all" if window == NEVER else window
        extra[deal] = read / least  # whatever the window is
        reading.append([deal, shown, read / least, held * PAGE_MIB])
        if deal == BLOCKS:
            uneven[window] = float(np.mean([unevenness(classes[order]) for order in orders]))
            mixing.append(["FFCVLoader", shown, uneven[window], distance(orders, N)])
    ratios = [
        Ratio("bytes read / minimum", extra[BLOCKS], "lower", goal=1.1, slack=1.1),
        Ratio("bytes read, single examples for each rank / minimum", extra[SINGLE], "lower"),
        Ratio(
            "classes in a batch: window of 256 / uniform shuffle",
            uneven[256] / uneven[NEVER],
            "lower",
            goal=1.5,
            slack=1.5,
        ),
    ]
    if not options.short:
        order = quasi_random(pages, np.sort(shards[BLOCKS][0]))
        mixing.append(["FFCV, QUASI_RANDOM", 2 * BATCH, unevenness(classes[order]), distance([order], N)])
    tables = [
        Table(
            f"Bytes read in an epoch: {RANKS} ranks, half of {N:,} examples, {pages.max() + 1:,} pages",
            ["each rank gets", "shuffle window, pages", "read / minimum", "buffer of a rank, MiB"],
            reading,
            f"Blocks have {SHARD_BLOCK:,} examples that are neighbours in the file. If a rank gets single "
            "examples, it needs nearly every page, even if it reads page by page. A window of all pages "
            "shuffles the rank's examples uniformly.",
        ),
        Table(
            f"How well the order is shuffled: file sorted by class, batches of {BATCH} per rank",
            [
                "loader",
                "shuffle window, pages",
                "chi-square of the classes in a batch",
                "mean distance to the next example / N",
            ],
            mixing,
            "Chi-square per degree of freedom, relative to the classes of the rank's examples in the "
            "epoch. A uniform shuffle has a chi-square of 1 and a distance of 1/3. FFCV's QUASI_RANDOM order "
            "does not support ranks: it orders the examples of one rank.",
        ),
    ]
    if options.data is not None and not options.short:
        table, ratio = measured(options.data)
        tables.insert(1, table)
        ratios.insert(1, ratio)
    points = [(float(w), uneven[w]) for w in WINDOWS]
    plot = Plot(
        "page-order",
        "The classes of a batch, file sorted by class",
        "window, pages of 8 MiB",
        "chi-square per degree of freedom",
        {"FFCVLoader": points, "uniform shuffle": [(w, uneven[NEVER]) for w, _ in points]},
        log_x=True,
        log_y=True,
    )
    return Result(tables, ratios, [plot])


def written_pages(N: int, processes: int = 8, chunk: int = 100) -> NDArray[np.int64]:
    """Return the page of each example; FFCV's writer gives a process a new page when its page is full."""
    sizes = np.random.default_rng(0).lognormal(np.log(100_000), 0.45, N).astype(np.int64)
    pages, page_of, used, next_page = np.empty(N, np.int64), [-1] * processes, [PAGE] * processes, 0
    for number, begin in enumerate(range(0, N, chunk)):
        process = number % processes
        for i in range(begin, min(begin + chunk, N)):
            size = int(sizes[i])
            if used[process] + size > PAGE:
                page_of[process], used[process], next_page = next_page, 0, next_page + 1
            used[process] += size
            pages[i] = page_of[process]
    return pages


def drawn_by_rank(N: int, block: int | None) -> list[NDArray[np.int64]]:
    """Return the examples that each rank trains on in an epoch."""
    scores = np.random.default_rng(0).lognormal(size=N)
    plan = plan_epoch(scores, 0, PruningConfig(ratio=0.5, min_probability=0.25, shard_block=block))
    return [plan.shard(rank, RANKS).indices for rank in range(RANKS)]


def unevenness(classes: NDArray[np.int64]) -> float:
    """Return the mean chi-square per degree of freedom of the classes in a batch."""
    found, place, counts = np.unique(classes, return_inverse=True, return_counts=True)
    expected = BATCH * counts / len(classes)
    batches = place[: len(place) // BATCH * BATCH].reshape(-1, BATCH)
    some = batches[:: max(len(batches) // 200, 1)]
    chi = [((np.bincount(batch, minlength=len(found)) - expected) ** 2 / expected).sum() for batch in some]
    return float(np.mean(chi)) / max(len(found) - 1, 1)


def distance(orders: list[NDArray[np.int64]], N: int) -> float:
    """Return the mean distance in the file from one example to the next, over N (uniform: 1/3)."""
    return float(np.mean([np.abs(np.diff(order)).mean() for order in orders])) / N


def quasi_random(pages: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return FFCV's QUASI_RANDOM order of some examples, from its compiled code."""
    from ffcv.traversal_order.quasi_random import generate_order_inner

    by_page = indices[np.argsort(pages[indices], kind="stable")]
    sizes = np.bincount(pages[by_page], minlength=int(pages.max()) + 1)
    table = np.empty((len(sizes), int(sizes.max())), np.int64)
    column = np.arange(len(by_page)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    table[pages[by_page], column] = by_page
    order = np.zeros(len(by_page), np.int64)
    generate_order_inner(0, table, sizes, order, 2 * BATCH)
    return order


def measured(data: Path) -> tuple[Table, Ratio]:
    """Measure what two ranks read of a real file that is not in memory, as counted by Linux."""
    from benchmarks.loading import SIDE, drop
    from sadp_dist import connect
    from sadp_dist.data import open_images
    from sadp_dist.loading import FFCVLoader, PruningSampler, beton_pages, write_beton

    images, ranks = open_images(data / "imagenet-sample.zip"), 2
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        beton = Path(folder, "photographs.beton")
        write_beton(images, beton, max_side=500, image_format="raw")
        pages = beton_pages(beton)
        for deal, block, window in ((SINGLE, None, None), (SINGLE, None, 4), (BLOCKS, 125, 4)):
            pruning = PruningConfig(ratio=0.5, epochs=3, shard_block=block)
            store = connect("memory:", "pages", len(images), pruning)
            order = None if window is None else PageOrder(pages, window)
            read, needed = 0, []
            for rank in range(ranks):
                sampler = PruningSampler(store, 16, rank, ranks, page_order=order)
                loader = FFCVLoader(beton, sampler, image_size=SIDE, os_cache=window is None)
                sampler.set_epoch(0)
                for _ in range(2):  # the first time compiles
                    drop(beton, *([loader._loader] if window is None else []))
                    before = bytes_from_disk()
                    assert sum(len(batch[1]) for batch in loader) == len(sampler)
                    count = bytes_from_disk() - before
                read += count
                needed.append(pages[sampler.indices])
            least = len(np.unique(np.concatenate(needed))) * PAGE
            shown = "random, system's page cache" if window is None else f"by pages, window of {window}"
            rows.append([deal, shown, read / 2**20, least / 2**20, read / least])
            store.close()
    table = Table(
        f"Bytes read from disk: {len(images)} photographs stored raw, half drawn, {ranks} ranks, "
        "empty page cache",
        ["each rank gets", "order", "read, MiB", "minimum, MiB", "read / minimum"],
        rows,
        "Linux counts the bytes of the process (/proc/self/io). Blocks have 125 examples.",
    )
    return table, Ratio("real file: bytes read / minimum", rows[-1][-1], "lower", goal=1.25)


def bytes_from_disk() -> int:
    """Return the bytes that this process has read from disks."""
    os.sync()
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))
