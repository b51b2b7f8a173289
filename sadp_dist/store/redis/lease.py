"""Who may plan a run: one at a time, and whoever is found dead or asleep no longer."""

from __future__ import annotations

import json
import secrets
import threading

from redis import exceptions
from redis.client import Pipeline

from sadp_dist.store.redis.keys import Keys
from sadp_dist.store.redis.server import Server

TTL = 5.0
"""Seconds that a lease outlives its holder."""
RENEW = 1.0


class LeaseLost(Exception):
    """Another planner has the run now, or may have it."""


class Lease:
    """A key that lives as long as a thread of the holder renews it.

    Its value is the fencing token: a number that is larger with each holder, and what no other holder has.
    Redis itself compares it in the transaction of each write that matters, so a holder that was asleep while
    its lease ran out changes nothing any more.

    Args:
        server: where.
        keys: of the run.
        token: the number.
        value: of the key, which has been set.
    """

    def __init__(self, server: Server, keys: Keys, token: int, value: bytes) -> None:
        self.token = token
        self._server, self._key, self._value = server, keys.lease, value
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="sadp_dist lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Find out, without asking Redis, whether it may still be this holder's.

        Raises:
            LeaseLost: it is known to be over.
        """
        if self._over.is_set():
            raise LeaseLost

    def guard(self, pipe: Pipeline) -> None:
        """Let the transaction that follows fail unless the lease is this holder's.

        Raises:
            LeaseLost: it is not.
        """
        pipe.watch(self._key)
        if pipe.get(self._key) != self._value:
            self._over.set()
            raise LeaseLost

    def release(self) -> None:
        """Let another one have it at once, if Redis can be told; nothing is renewed any more."""
        self._over.set()
        self._thread.join(TTL)
        try:
            with self._server.redis.pipeline() as pipe:
                self.guard(pipe)
                pipe.multi()
                pipe.unlink(self._key)
                pipe.execute()
        except (LeaseLost, exceptions.RedisError):
            pass  # it runs out by itself

    def _renew(self) -> None:
        while not self._over.wait(RENEW):
            try:
                with self._server.redis.pipeline() as pipe:
                    self.guard(pipe)
                    pipe.multi()
                    pipe.pexpire(self._key, int(TTL * 1000))
                    pipe.execute()
            except (LeaseLost, exceptions.RedisError):
                continue  # after a fault it may still be ours


def acquire(server: Server, keys: Keys, planner: str) -> Lease | None:
    """The lease of a run, if nobody has it.

    Args:
        server: where.
        keys: of the run.
        planner: who wants it, for people to read.
    """
    if server.redis.get(keys.lease) is not None:
        return None
    token = server.redis.incr(keys.fence)
    value = json.dumps({"token": token, "nonce": secrets.token_hex(8), "planner": planner}).encode()
    if not server.redis.set(keys.lease, value, nx=True, px=int(TTL * 1000)):
        return None
    return Lease(server, keys, token, value)


def holder(value: bytes | None) -> str | None:
    """Who has a lease; None if nobody does."""
    return None if value is None else str(json.loads(value)["planner"])
