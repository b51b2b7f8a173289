"""A run of real rank processes that a test can hold at a point and compare with one left in peace."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from multiprocessing import connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadp_dist import connect
from sadp_dist.selection.plan import shard
from sadp_dist.store import attach
from tests.faults.rank import EPOCHS, PRUNING, N, answers, figures_of, run, scores_of
from tests.forked import POLLING, PRELOADED

PATIENCE = 200.0  # seconds after which a test no longer waits for anything
# Ranks are forks of a process that has imported everything: that would take longer than all they do.
_START = multiprocessing.get_context("forkserver")
_START.set_forkserver_preload(["tests.faults.rank", *PRELOADED])


@dataclass(frozen=True)
class Expected:
    """The run without a fault: the subset of every epoch, whole, and what the store answers at the end."""

    subsets: tuple[tuple[NDArray[np.int64], NDArray[np.float64]], ...]
    answers: Mapping[str, NDArray[Any]]


@cache
def expected() -> Expected:
    """One process, the embedded store, one push an epoch."""
    subsets = []
    with connect("memory:", "job", N, PRUNING) as store:
        for epoch in range(EPOCHS):
            whole = store.plan(epoch, rank=0, world_size=1)
            subsets.append((whole.indices, whole.weights))
            store.push(whole.indices, scores_of(epoch)[whole.indices], epoch=epoch)
            store.record(epoch, figures_of(epoch))
        return Expected(tuple(subsets), answers(store))


@dataclass(frozen=True)
class Ended:
    """What became of a rank.

    Attributes:
        status: exit status; below 0 a signal.
        said: what it wrote to stderr.
        longest: the longest time that a call to the store took, in seconds; 0 if it did not end well.
    """

    status: int | None
    said: str
    longest: float


class Job:
    """The ranks of one run in a store.

    Args:
        url: of the store.
        folder: for what the ranks write; made here.
        options: of `sadp_dist.connect`.
        networks: rank -> the network namespace that it is in, where it is not this machine's.
        environment: what the ranks' has more than this process's had.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        options: Mapping[str, Any] | None = None,
        world_size: int = 2,
        networks: Mapping[int, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.url = url
        self.folder = folder
        self.world_size = world_size
        folder.mkdir()
        self._ranks = [
            _START.Process(
                target=run,
                args=(url, folder, rank, world_size, dict(options or {})),
                kwargs={"environment": dict(environment or {}), "network": (networks or {}).get(rank)},
                daemon=True,
            )
            for rank in range(world_size)
        ]

    def __enter__(self) -> Job:
        for rank, process in enumerate(self._ranks):
            (self.folder / f"{rank}.err").touch()
            with POLLING:
                process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._ranks:
            process.kill()
            connection.wait([process.sentinel])

    def hold(self, rank: int, point: str) -> None:
        """Have a rank wait once it comes to a point."""
        (self.folder / f"{rank}.hold").write_text(point)

    def release(self) -> None:
        """No rank waits any more."""
        for hold in self.folder.glob("*.hold"):
            hold.unlink()

    def reached(self, rank: int, point: str) -> None:
        """Wait until a rank has come to a point."""
        progress = self.folder / f"{rank}.progress"
        self._wait(
            lambda: progress.exists() and f"{point}\n" in progress.read_text(), f"rank {rank}: {point}"
        )

    def waits_for(self, rank: int) -> None:
        """Wait until the store knows that all ranks but one have asked for a shard."""
        with attach(self.url, "job", timeout=PATIENCE) as store:
            self._wait(lambda: store.stats().waiting_ranks == [rank], f"waiting for rank {rank}")

    def end(self) -> list[Ended]:
        """Wait until all ranks have ended; what became of each."""
        self._wait(lambda: None not in self._statuses(), "the end", running=False)
        return [self._ended(rank, status) for rank, status in enumerate(self._statuses())]

    def _statuses(self) -> list[int | None]:
        with POLLING:
            return [process.exitcode for process in self._ranks]

    def _ended(self, rank: int, status: int | None) -> Ended:
        report = self.folder / f"{rank}.json"
        longest = json.loads(report.read_text())["longest"] if report.exists() else 0.0
        return Ended(status, self._errors(rank), longest)

    def _errors(self, rank: int) -> str:
        return (self.folder / f"{rank}.err").read_text()

    def _wait(self, come: Callable[[], bool], what: str, running: bool = True) -> None:
        deadline = time.monotonic() + PATIENCE
        while not come():
            errors = "\n".join(self._errors(rank) for rank in range(self.world_size))
            assert time.monotonic() < deadline, f"{what} did not come in {PATIENCE:g} s\n{errors}"
            gone = running and self._statuses() != [None] * self.world_size
            assert not gone or come(), f"a rank ended before {what}\n{errors}"
            time.sleep(0.02)

    def check_same_as_unbroken(self) -> None:
        """Every rank had the shards of the unbroken run, and the store ended with its scores and history."""
        for epoch, (order, weights) in enumerate(expected().subsets):
            for rank in range(self.world_size):
                indices, shard_weights = shard(order, weights, rank, self.world_size)
                with np.load(self.folder / f"{rank}-{epoch}.npz") as got:
                    np.testing.assert_array_equal(got["indices"], indices)
                    np.testing.assert_array_equal(got["weights"], shard_weights)
        for rank in range(self.world_size):
            with np.load(self.folder / f"{rank}.npz") as got:
                for name, answer in expected().answers.items():
                    np.testing.assert_array_equal(got[name], answer, name)
