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
        planner: who wants it, for people to read.
    """

    def __init__(self, server: Server, keys: Keys, planner: str) -> None:
        self._server, self._keys, self._planner = server, keys, planner
        self._value: bytes | None = None
        self._lost = threading.Event()
        self._released = threading.Event()
        self._renewing: threading.Thread | None = None

    @property
    def token(self) -> int:
        """Larger than those of all holders before."""
        assert self._value is not None
        return int(json.loads(self._value)["token"])

    def acquire(self) -> bool:
        """Take it if nobody has it."""
        redis = self._server.redis
        if redis.get(self._keys.lease) is not None:
            return False
        token = redis.incr(self._keys.fence)
        value = json.dumps({"token": token, "nonce": secrets.token_hex(8), "planner": self._planner}).encode()
        if not redis.set(self._keys.lease, value, nx=True, px=int(TTL * 1000)):
            return False
        self._value = value
        self._lost.clear()
        self._released.clear()
        self._renewing = threading.Thread(target=self._renew, name="sadp_dist lease", daemon=True)
        self._renewing.start()
        return True

    def check(self) -> None:
        """
        Raises:
            LeaseLost: it is known to be no longer this holder's.
        """
        if self._lost.is_set():
            raise LeaseLost

    def guard(self, pipe: Pipeline) -> None:
        """Let the transaction that follows fail unless the lease is this holder's.

        Raises:
            LeaseLost: it is not.
        """
        pipe.watch(self._keys.lease)
        if pipe.get(self._keys.lease) != self._value:
            self._lost.set()
            raise LeaseLost

    def release(self) -> None:
        """Let another one have it at once, if Redis can be told."""
        self._released.set()
        if self._renewing is not None:
            self._renewing.join()
        try:
            with self._server.redis.pipeline() as pipe:
                self.guard(pipe)
                pipe.multi()
                pipe.unlink(self._keys.lease)
                pipe.execute()
        except (LeaseLost, exceptions.RedisError):
            pass  # it runs out by itself

    def _renew(self) -> None:
        while not self._released.wait(RENEW) and not self._lost.is_set():
            try:
                with self._server.redis.pipeline() as pipe:
                    self.guard(pipe)
                    pipe.multi()
                    pipe.pexpire(self._keys.lease, int(TTL * 1000))
                    pipe.execute()
            except LeaseLost:
                return
            except exceptions.RedisError:
                continue  # it may come back in time


def holder(value: bytes | None) -> str | None:
    """Who has a lease; None if nobody does."""
    return None if value is None else str(json.loads(value)["planner"])
