"""Runs that nobody writes to any more: they need no planner until somebody does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from sadp_dist.store.backends.redis.lease import TTL
from sadp_dist.store.backends.redis.log import Replica
from sadp_dist.store.backends.redis.server import Server


class IdleRun:
    """An idle run, as its planner left it.

    Args:
        server: where the run is.
        planner: name of the planner that would continue, for messages.
        replica: has read the log to its end.
    """

    def __init__(self, server: Server, planner: str, replica: Replica) -> None:
        assert replica.meta is not None
        self.server, self.planner, self.keys = server, planner, replica.keys
        self.log, self.position, self.raw = replica.keys.log(replica.meta.log), replica.position, replica.raw


def awake(idle: Mapping[str, IdleRun]) -> list[str]:
    """Return the names of the runs that were written to or replaced, with one request to each server.

    To the ranks of the other runs, their planner stays visible.

    Raises:
        Unreachable: a server does not answer.
    """
    at_node = defaultdict(list)
    for name, run in idle.items():
        at_node[run.server.node].append((name, run))
    found = []
    for runs in at_node.values():
        server = runs[0][1].server
        with server.faults(), server.redis.pipeline(transaction=False) as pipe:
            for _, run in runs:
                pipe.set(run.keys.server, run.planner, px=int(TTL * 1000))
                pipe.get(run.keys.meta)
                pipe.xrange(run.log, f"({run.position}", count=1)
            answers = iter(pipe.execute(raise_on_error=False))
        for (name, run), _, raw, entries in zip(runs, answers, answers, answers, strict=True):
            if raw != run.raw or entries:  # an error counts, too: the planner finds out what it means
                found.append(name)
    return found
