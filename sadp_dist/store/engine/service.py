"""`Service`: an engine, and what the ranks of a run send to it. A backend keeps one alive for each run.

Tokens keep old messages out. The token of a run is 64 random bits, chosen when the run begins and again when
a saved store or a reset replaces its state. Every frame carries the token that its rank knows, and the
service skips a frame with another one: it was sent to an earlier run of the name, or before the state was
replaced. A rank that finds another token than its own stops. The planners of a run in Redis have a token of
their own, which `backends.redis.lease` explains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sadp_dist.errors import UsageError
from sadp_dist.selection.plan import Shard, check_rank
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.frames import BadFrame, decode
from sadp_dist.store.engine.run import Figures
from sadp_dist.store.engine.snapshot import Snapshot
from sadp_dist.store.engine.stats import StoreStats


def refuse_if_over(epoch: int, latest: int | None, run: str) -> None:
    """Refuse an epoch that is already over: the caller would train on another run's scores.

    Args:
        epoch: that a rank asks for.
        latest: epoch of the latest plan; None before the first.
        run: name of the run.

    Raises:
        UsageError: the epoch is over.
    """
    if latest is not None and epoch < latest:
        raise UsageError(
            f"epoch={epoch} of run {run!r} is over: the run is at epoch={latest}. store.reset() begins it "
            "again, store.load() returns to a saved state, sadp-dist rm removes it"
        )


class Service:
    """A state machine without threads, files or a clock: the messages and their order decide every answer.

    Args:
        engine: of the run.
        token: of the run.
    """

    def __init__(self, engine: Engine, token: int) -> None:
        self.engine = engine
        self.token = token
        self._asked: dict[tuple[int, int], set[int]] = {}
        self._sequences: dict[int, int] = {}
        self._bad_frames: Counter[str] = Counter()
        self._bytes = 0
        self._rank_epochs: list[int] = []

    def receive(self, data: bytes | memoryview) -> None:
        """Store a frame. Anything else is counted and changes nothing."""
        self._bytes += len(data)
        try:
            frame = decode(data, self.token, self.engine.run.dataset_size)
            if isinstance(frame.content, Figures):
                self.engine.record(frame.content)
                return
        except BadFrame as bad:
            self.skip(str(bad))
            return
        except UsageError:  # figures of an epoch that the run does not have
            self.skip("values")
            return
        repeat = frame.sequence <= self._sequences.get(frame.client, 0)
        self.engine.apply(frame.content, frame.pushes, repeat)
        if not repeat:
            self.engine.reject(frame.rejected)
            self._sequences[frame.client] = frame.sequence

    def skip(self, reason: str) -> None:
        """Count a message that is not one of this run."""
        self._bad_frames[reason] += 1

    def ask(self, epoch: int, rank: int, world_size: int) -> list[tuple[int, int]]:
        """Note that a rank wants its shard of an epoch and has sent all its earlier scores.

        The epoch is planned once all ranks of one world size have asked. The plan then serves every world
        size.

        Returns:
            The (rank, world size) whose shards have become ready with this call.

        Raises:
            UsageError: an argument is out of its range, or the epoch is over.
        """
        epoch = self.engine.run.check_epoch(epoch)
        rank, world_size = check_rank(rank, world_size)
        refuse_if_over(epoch, self.engine.latest_epoch, self.engine.run.name)
        if len(self._rank_epochs) != world_size:
            self._rank_epochs = [-1] * world_size
        self._rank_epochs[rank] = epoch
        if self.engine.has_plan(epoch):
            return [(rank, world_size)]
        asked = self._asked.setdefault((epoch, world_size), set())
        asked.add(rank)
        if len(asked) < world_size:
            return []
        self.engine.plan(epoch)
        ready = [(r, size) for (e, size), ranks in self._asked.items() if e == epoch for r in sorted(ranks)]
        self._asked = {key: ranks for key, ranks in self._asked.items() if key[0] > epoch}
        return ready

    def shard(self, epoch: int, rank: int, world_size: int) -> Shard | None:
        """Return a rank's shard; None while other ranks are waited for."""
        return self.engine.shard(epoch, rank, world_size) if self.engine.has_plan(epoch) else None

    def missing(self, epoch: int, world_size: int) -> tuple[int, ...]:
        """Return the ranks that have not asked for an epoch."""
        asked = self._asked.get((epoch, world_size), set())
        return tuple(rank for rank in range(world_size) if rank not in asked)

    def waits(self) -> dict[tuple[int, int], tuple[int, ...]]:
        """Return the ranks that have not asked, by (epoch, world size) asked for and not planned yet."""
        return {asked: self.missing(*asked) for asked in self._asked}

    def waiting_ranks(self) -> tuple[int, ...]:
        """Return the ranks that others wait for at the newest epoch asked for; empty if nobody waits."""
        return self.missing(*max(self._asked)) if self._asked else ()

    def answer(
        self,
        name: str,
        arguments: Mapping[str, Any],
        planner: str | None = None,
        last_snapshot: float | None = None,
    ) -> Any:
        """Return the engine's answer to a query, with what only a service knows.

        Args:
            name: one of `engine.QUERIES`.
            arguments: by name.
            planner: the process that makes the plans.
            last_snapshot: when the backend last wrote a snapshot, in seconds since 1970.
        """
        answer = self.engine.answer(name, arguments)
        if not isinstance(answer, StoreStats):
            return answer
        return replace(
            answer,
            bytes_received=self._bytes,
            bad_frames=dict(self._bad_frames),
            waiting_ranks=list(self.waiting_ranks()),
            rank_epochs=list(self._rank_epochs),
            planner=planner,
            last_snapshot=last_snapshot,
        )

    def state(self) -> dict[str, Any]:
        """Return the state beside the engine, as plain JSON."""
        return {
            "token": self.token,
            "asked": [[epoch, size, sorted(ranks)] for (epoch, size), ranks in self._asked.items()],
            "sequences": {str(client): sequence for client, sequence in self._sequences.items()},
            "bad_frames": dict(self._bad_frames),
            "bytes": self._bytes,
            "rank_epochs": self._rank_epochs,
        }

    @classmethod
    def resume(cls, engine: Engine, state: dict[str, Any]) -> Service:
        """Return a service in a given `state`, over an engine in the same state."""
        token = state["token"] if "token" in state else state["origin"]  # the older name
        service = cls(engine, token)
        service._asked = {(epoch, size): set(ranks) for epoch, size, ranks in state["asked"]}
        service._sequences = {int(client): sequence for client, sequence in state["sequences"].items()}
        service._bad_frames = Counter(state["bad_frames"])
        service._bytes = state["bytes"]
        service._rank_epochs = list(state.get("rank_epochs", ()))  # older states have none
        return service

    def snapshot(self) -> Snapshot:
        """Return everything, for `from_snapshot`; it shares memory with the engine."""
        return replace(self.engine.snapshot(), service=self.state())

    def restore(self, snapshot: Snapshot, token: int) -> None:
        """Replace scores and plans by those of a snapshot, whose arrays the service then owns.

        Earlier requests, and frames that are still on their way, belong to the old token.

        Raises:
            UsageError: dataset size, configuration or labels differ; nothing is changed.
        """
        self.engine.restore(snapshot)
        self.token = token
        self._asked.clear()
        self._sequences.clear()
        self._bad_frames.clear()
        self._rank_epochs = []
        self._bytes = 0

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot) -> Service:
        """Return a service in the state of a snapshot that a service wrote, and whose arrays it owns then."""
        return cls.resume(Engine.from_snapshot(snapshot), snapshot.service)
