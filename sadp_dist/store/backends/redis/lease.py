"""Who may plan a run: one at a time, and whoever is found dead or asleep no longer."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress

from redis import exceptions
from redis.client import Pipeline

from sadp_dist.store.backends.redis.keys import Keys
from sadp_dist.store.backends.redis.server import Server

TTL = 5.0
"""Seconds that a lease outlives its holder."""
RENEW = 1.0


class LeaseLost(Exception):
    """Another planner has the run now, or may have it."""


class Lease:
    """A key that lives as long as a thread of the holder renews it, and a fence beside it.

    Both have the same value: a number that is larger with each holder, and what no other holder has. The
    fence stays as it is until the next holder comes. Redis itself compares it in the transaction of each
    write that matters, so a holder that was asleep while its lease ran out changes nothing any more; and
    renewing does not disturb a transaction, however long it takes on a slow line.

    Args:
        server: where.
        keys: of the run.
        token: the number.
        value: of the keys, which have been set.
    """

    def __init__(self, server: Server, keys: Keys, token: int, value: bytes) -> None:
        self.token = token
        self._server, self._keys, self._value = server, keys, value
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
        """Let the transaction that follows fail if there is another holder by then.

        Raises:
            LeaseLost: there is one already.
        """
        self._compare(pipe, self._keys.fence)

    def release(self) -> None:
        """Let another one have it at once, if Redis can be told; nothing is renewed any more."""
        self._over.set()
        self._thread.join(TTL)
        with suppress(LeaseLost, exceptions.RedisError):  # it runs out by itself
            self._write(lambda pipe: pipe.unlink(self._keys.lease))

    def _renew(self) -> None:
        while not self._over.wait(RENEW):
            with suppress(LeaseLost, exceptions.RedisError):  # after a fault it may still be ours
                self._write(lambda pipe: pipe.pexpire(self._keys.lease, int(TTL * 1000)))

    def _write(self, command: Callable[[Pipeline], object]) -> None:
        with self._server.redis.pipeline() as pipe:
            self._compare(pipe, self._keys.lease)
            pipe.multi()
            command(pipe)
            pipe.execute()

    def _compare(self, pipe: Pipeline, key: str) -> None:
        pipe.watch(key)
        if pipe.get(key) != self._value:
            self._over.set()
            raise LeaseLost


def acquire(server: Server, keys: Keys, planner: str) -> Lease | None:
    """The lease of a run, if nobody has it.

    Args:
        server: where.
        keys: of the run.
        planner: who wants it, for people to read.
    """
    with server.redis.pipeline() as pipe:
        pipe.watch(keys.lease, keys.fence)
        if pipe.get(keys.lease) is not None:
            return None
        former = pipe.get(keys.fence)
        token = 1 if former is None else json.loads(former)["token"] + 1
        value = json.dumps({"token": token, "nonce": secrets.token_hex(8), "planner": planner}).encode()
        pipe.multi()
        pipe.set(keys.fence, value)
        pipe.set(keys.lease, value, px=int(TTL * 1000))
        try:
            pipe.execute()
        except exceptions.WatchError:
            return None  # another one was quicker
    return Lease(server, keys, token, value)


def holder(value: bytes | None) -> str | None:
    """Who has a lease; None if nobody does."""
    return None if value is None else str(json.loads(value)["planner"])
