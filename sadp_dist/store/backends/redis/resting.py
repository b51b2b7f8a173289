"""Runs that a planner has left, since nobody wrote to them any more, until somebody does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from sadp_dist.store.backends.redis.lease import TTL
from sadp_dist.store.backends.redis.log import Replica
from sadp_dist.store.backends.redis.server import Server


class Resting:
    """How a planner left a run.

    Args:
        server: where the run is.
        planner: who would go on, for people to read.
        replica: has read the log up to its end.
    """

    def __init__(self, server: Server, planner: str, replica: Replica) -> None:
        assert replica.meta is not None
        self.server, self.planner, self.keys = server, planner, replica.keys
        self.log, self.position, self.raw = (
            replica.keys.log(replica.meta.generation),
            replica.position,
            replica.raw,
        )


def woken(resting: Mapping[str, Resting]) -> list[str]:
    """The names of those that somebody has written to, or replaced. One question to each server.

    To the ranks of the others their planner stays in sight.

    Raises:
        Unreachable: a server cannot be asked.
    """
    at_node = defaultdict(list)
    for name, rest in resting.items():
        at_node[rest.server.node].append((name, rest))
    found = []
    for runs in at_node.values():
        server = runs[0][1].server
        with server.faults(), server.redis.pipeline(transaction=False) as pipe:
            for _, rest in runs:
                pipe.set(rest.keys.server, rest.planner, px=int(TTL * 1000))
                pipe.get(rest.keys.meta)
                pipe.xrange(rest.log, f"({rest.position}", count=1)
            answers = iter(pipe.execute(raise_on_error=False))
        for (name, rest), _, raw, entries in zip(runs, answers, answers, answers, strict=True):
            if raw != rest.raw or entries:  # an error, too: the planner will see what it means
                found.append(name)
    return found
