"""Client for a store that runs in another process."""

from __future__ import annotations

import atexit
import time
import warnings
from collections.abc import Callable, Mapping
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.selection.plan import Shard, check_rank
from sadp_dist.store.client.buffer import PushBuffer
from sadp_dist.store.client.collective import Collective
from sadp_dist.store.client.sender import Sender
from sadp_dist.store.connection import (
    Connection,
    Restarted,
    StoreOptions,
    Unreachable,
    Waiting,
    pauses,
    unavailable,
    until_reached,
)
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.run import Figures, Run, check_figures
from sadp_dist.store.engine.snapshot import Snapshot
from sadp_dist.store.view import Store

if TYPE_CHECKING:
    from sadp_dist.store.view import Array

PATIENCE = 5.0
"""Seconds after which a backend answers that a shard is not ready yet."""
CLOSING = 10.0
"""Seconds that `close` waits for scores that are on their way."""
GRACE = 300.0
"""Seconds by which ranks wait longer for each other than for the store, so that the error names the store."""

T = TypeVar("T")


class RemoteStore(Store):
    """One rank's side of a store in another process.

    A thread sends the pushes. Only queries, `plan`, and the calls that every rank makes together wait for the
    backend, at most `options.timeout` for one that does not answer. In a torch.distributed job, `flush`,
    `save`, `load` and `reset` raise the same error on every rank.

    Args:
        connection: to the run; the store closes it.
        run: what is trained; the backend has the same run.
        options: only the timeout is used.
        ranks: of the job, closed with the store; None for a job of one process.
    """

    def __init__(
        self, connection: Connection, run: Run, options: StoreOptions, ranks: Collective | None = None
    ) -> None:
        self._connection = connection
        self._run, self._dataset_size = run, run.dataset_size
        self._timeout = options.timeout
        self._ranks = ranks or Collective(options.timeout + GRACE)
        combines = run.pruning.rule.combine is not None
        self._sender = Sender(connection, run.dataset_size, options.timeout, combines)
        self._buffer = PushBuffer(run.dataset_size, self._sender.add, run.check_epoch)
        atexit.register(self._at_exit)

    def push(self, indices: Array, scores: Array, epoch: int, valid: Array | None = None) -> None:
        self._sender.check()
        self._buffer.push(indices, scores, epoch, valid)

    def plan(self, epoch: int, rank: int | None = None, world_size: int | None = None) -> Shard:
        self._ranks.check()
        mine = self._ranks.rank if rank is None else rank
        size = self._ranks.size if world_size is None else world_size
        epoch, (mine, size) = self._run.check_epoch(epoch), check_rank(mine, size)
        self._deliver()
        shard = self._wait_for_shard(epoch, mine, size)
        self._sender.forget(before_epoch=epoch)  # later scores may have come after the plan
        return shard

    def pushed(self, epoch: int, indices: NDArray[np.int64], world_size: int) -> int:
        rows = self._buffer.rows.get(epoch, 0)
        if rows >= len(indices) or not self._run.needs_scores_of(epoch):
            return len(indices)
        if world_size == 1:
            return rows
        # Another rank may push for this one; the store knows, after the first epoch at least.
        return int(np.count_nonzero(~np.isnan(self.scores(indices))))

    def same_on_ranks(self, call: str, name: str, value: int) -> None:
        self._ranks.same(call, name, value)

    def flush(self) -> None:
        self._with_everything("flush", self._sender.flush)

    def record(self, epoch: int, figures: Mapping[str, float]) -> None:
        self._buffer.check_process()
        self._sender.record(Figures(self._run.check_epoch(epoch), check_figures(figures)))

    def query(self, name: str, arguments: Mapping[str, Any]) -> Any:
        while True:
            self._deliver()
            try:
                return until_reached(lambda: self._connection.query(name, arguments), self._timeout)
            except Restarted:
                self._sender.resend()

    def save(self, path: str | PathLike[str]) -> None:
        taken: list[Snapshot] = []

        def take() -> None:
            taken[:] = [until_reached(self._connection.snapshot, self._timeout)]

        self._with_everything("save", take)
        self._ranks.on_rank_zero(lambda: taken[0].save(path))

    def load(self, path: str | PathLike[str]) -> None:
        def loaded() -> Snapshot:
            engine = Engine(self._run)
            engine.restore(Snapshot.read(path))
            return engine.snapshot()

        self._replace("load", loaded)

    def reset(self) -> None:
        self._replace("reset", lambda: Engine(self._run).snapshot())

    def close(self) -> None:
        lost = self._close(min(CLOSING, self._timeout))
        if lost:
            warnings.warn(
                f"close(): {lost:,} pushed scores did not reach the store and are lost; call flush() before, "
                "which waits longer, up to store.timeout",
                stacklevel=2,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:  # the error says what happened, and the store may be it
            self._close(0.0)

    def _close(self, patience: float) -> int:
        """Close everything; return how many scores are lost."""
        if self._buffer.forked:  # the lines belong to the process that has connected
            return 0
        atexit.unregister(self._at_exit)
        try:
            if patience > 0:
                self._buffer.drain()
        except UsageError as error:
            warnings.warn(f"close(): {error}", stacklevel=3)
        finally:
            self._buffer.clear()
            lost = self._sender.close(patience)
            self._connection.close()
            self._ranks.close()
        return lost

    def _at_exit(self) -> None:
        if self._sender.answered:  # else an error has said so
            self.close()

    def _deliver(self) -> None:
        """Return once the backend has everything that this rank has pushed."""
        try:
            self._buffer.drain()
        finally:
            self._sender.reject(self._buffer.take_rejected())
        self._sender.flush()

    def _wait_for_shard(self, epoch: int, rank: int, world_size: int) -> Shard:
        deadline = time.monotonic() + self._timeout
        waits, asked = pauses(), False
        while True:
            try:
                if not asked:
                    self._connection.ask(epoch, rank, world_size)
                    asked = True
                patience = min(PATIENCE, max(deadline - time.monotonic(), 0.0))
                answer = self._connection.shard(epoch, rank, world_size, patience)
                if isinstance(answer, Shard):
                    return answer
                if time.monotonic() >= deadline:
                    raise StoreUnavailable(self._missing(epoch, world_size, answer))
                waits = pauses()
                asked = bool(answer.ranks) or answer.planner is None  # else the shard may have been lost
            except Unreachable as problem:
                asked = False
                pause = next(waits)
                if time.monotonic() + pause >= deadline:
                    raise unavailable(problem, self._timeout) from problem
                time.sleep(pause)
            except Restarted:
                asked = False
                self._sender.resend()
                self._sender.flush()

    def _missing(self, epoch: int, world_size: int, waiting: Waiting) -> str:
        waited = f"epoch {epoch + 1} of {self._run.pruning.run_epochs}: waited {self._timeout:g} s for"
        if waiting.planner is None:
            return f'{waited} a planner, and none runs: start "sadp-dist serve", or set store.planner=rank0'
        if waiting.ranks:
            ranks = ", ".join(map(str, waiting.ranks))
            return (
                f"{waited} rank{'s' * (len(waiting.ranks) > 1)} {ranks} of {world_size}; "
                "see their output, or raise store.timeout"
            )
        return f"{waited} the planner, {waiting.planner}; see its output, or raise store.timeout"

    def _with_everything(self, call: str, step: Callable[[], None]) -> None:
        """Run a step on rank 0 at a time when the backend has every push of every rank.

        A backend that comes back with less needs the scores of every rank again. Rank 0 counts how often that
        happens. If the count changes between the first delivery and the end of the step, all is done again.
        """
        resends, done = 0, False

        def note() -> None:
            nonlocal resends
            resends = self._sender.resends

        def run_step() -> bool:
            try:
                step()
            except Restarted:
                self._sender.resend()
            return self._sender.resends == resends

        while not done:
            self._ranks.agree(call, note)
            self._ranks.agree(call, self._deliver)
            done = self._ranks.on_rank_zero(run_step)

    def _replace(self, call: str, state: Callable[[], Snapshot]) -> None:
        """Replace the state of the run by one that rank 0 makes."""
        made: list[Snapshot] = []
        self._ranks.agree(call, lambda: None)
        self._ranks.on_rank_zero(lambda: made.append(state()))
        self._ranks.agree(call, self._clear)  # from now on no earlier push is on its way
        self._ranks.on_rank_zero(
            lambda: until_reached(lambda: self._connection.restore(made[0]), self._timeout)
        )
        self._ranks.agree(call, self._rejoin)

    def _rejoin(self) -> None:
        if self._ranks.rank != 0:
            until_reached(self._connection.rejoin, self._timeout)

    def _clear(self) -> None:
        self._buffer.clear()
        self._buffer.take_rejected()
        self._sender.clear()


def join(
    open_connection: Callable[[Run], Connection], make_run: Callable[[], Run], options: StoreOptions
) -> RemoteStore:
    """Return a rank's store, over a connection that each rank of the job opens: all of them do, or none.

    Args:
        open_connection: opens the connection to a run.
        make_run: returns what is trained; an error of one rank is raised on every rank.
        options: of the store.

    Raises:
        UsageError, StoreUnavailable: a rank could not connect.
    """
    ranks = Collective(options.timeout + GRACE)
    opened: list[tuple[Connection, Run]] = []

    def step() -> None:
        run = make_run()
        opened.append((open_connection(run), run))

    try:
        ranks.agree("connect", step)
    except BaseException:
        for connection, _ in opened:
            connection.close()
        ranks.close()
        raise
    return RemoteStore(*opened[0], options, ranks)
