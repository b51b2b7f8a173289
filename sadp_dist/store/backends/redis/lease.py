"""The lease of a run: one planner at a time may plan it.

A planner that takes the lease gets a token, a number larger than that of the planner before. It writes the
token under two keys. The lease itself expires after `TTL` seconds unless a thread of the planner renews it.
The `planner` key keeps its value until the next planner comes. Redis compares that key in the transaction of
each write, so a planner that slept while its lease expired changes nothing when it wakes up. Renewing the
lease does not touch the `planner` key, so it never disturbs a transaction on a slow line.
"""

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
"""Seconds after which a lease expires that is not renewed."""
RENEW = 1.0


class LeaseLost(Exception):
    """Another planner has the run now, or may have it."""


class Lease:
    """The lease of one planner.

    Args:
        server: where the run is.
        keys: of the run.
        token: of the planner.
        value: of the two keys, which have been set.
    """

    def __init__(self, server: Server, keys: Keys, token: int, value: bytes) -> None:
        self.token = token
        self._server, self._keys, self._value = server, keys, value
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="sadp_dist lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise if the lease is known to be over. This does not ask Redis.

        Raises:
            LeaseLost: the lease is over.
        """
        if self._over.is_set():
            raise LeaseLost

    def guard(self, pipe: Pipeline) -> None:
        """Make the transaction that follows fail if another planner has the run by then.

        Raises:
            LeaseLost: another planner has it already.
        """
        self._compare(pipe, self._keys.planner)

    def release(self) -> None:
        """Give the lease back, if Redis can be reached. It is not renewed any more."""
        self._over.set()
        self._thread.join(TTL)
        with suppress(LeaseLost, exceptions.RedisError):  # it expires by itself
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
    """Take the lease of a run; None if another planner has it.

    Args:
        server: where the run is.
        keys: of the run.
        planner: name of the planner, for messages.
    """
    with server.redis.pipeline() as pipe:
        pipe.watch(keys.lease, keys.planner)
        if pipe.get(keys.lease) is not None:
            return None
        former = pipe.get(keys.planner)
        token = 1 if former is None else json.loads(former)["token"] + 1
        value = json.dumps({"token": token, "nonce": secrets.token_hex(8), "planner": planner}).encode()
        pipe.multi()
        pipe.set(keys.planner, value)
        pipe.set(keys.lease, value, px=int(TTL * 1000))
        try:
            pipe.execute()
        except exceptions.WatchError:
            return None  # another planner was faster
    return Lease(server, keys, token, value)


def holder(value: bytes | None) -> str | None:
    """Return the name of the planner that has a lease; None if there is no lease."""
    return None if value is None else str(json.loads(value)["planner"])
