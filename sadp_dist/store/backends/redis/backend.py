"""The Redis backend: connect to a run, attach to one, list and remove them."""

from __future__ import annotations

import os
import secrets
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

from redis.exceptions import ResponseError

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store.backends.redis.address import Address
from sadp_dist.store.backends.redis.connection import RedisConnection
from sadp_dist.store.backends.redis.log import Reader
from sadp_dist.store.backends.redis.planner import Planner
from sadp_dist.store.backends.redis.server import Directory, NoAnswer, Server, Unreadable
from sadp_dist.store.backends.redis.state import (
    REMOVED,
    REMOVED_FOR,
    Changed,
    Keys,
    Meta,
    begin,
    holder,
)
from sadp_dist.store.connection import StoreOptions, Unreachable, until_reached
from sadp_dist.store.engine.engine import Engine
from sadp_dist.store.engine.history import EpochRecord
from sadp_dist.store.engine.run import Run, differences
from sadp_dist.store.engine.service import Service
from sadp_dist.store.run_state import epochs_of_facts, run_state

PATIENCE = 10.0
"""Seconds to wait for a Redis that is just starting."""
FACTS = ("state", "since", "dataset_size", "method", "epoch", "epochs", "created", "last_snapshot", "planner")
NOTHING: dict[str, Any] = dict.fromkeys(FACTS)
NO_NAME = "not the name of a run: another client has written it to sadp_dist:runs; sadp-dist rm removes it"
NO_LEASE = "its lease is damaged: another client has overwritten it; the next planner writes it again"
NO_EVICTION = "noeviction"
LOOK = 0.05
"""Seconds between checks whether another rank has begun the run."""
BEGINNING_FOR = 30.0
"""Seconds after which another rank tries to begin the run."""

T = TypeVar("T")


def connect(url: str, run: Run, options: StoreOptions) -> RedisConnection:
    """Return a connection to a run, which is begun if it is not there. On rank 0 it may start a planner.

    Raises:
        UsageError: the Redis has a different run of this name.
    """
    server = Server(Address.parse(url))
    meta = _join(server, run)
    with closing(Directory(server.address)) as directory:
        _patiently(lambda: directory.add(run.name))
    planner, rank = None, _rank()
    if rank == 0:
        _warn_of_settings(server)
    if options.planner != "server" and rank == 0:
        planner = Planner(server, run.name, "rank 0", yields=options.planner == "auto")
        planner.start()
    return RedisConnection(server, meta, planner)


def attach(url: str, run: str, options: StoreOptions) -> Reader:
    """Return what answers queries to a run that other processes train.

    Raises:
        UsageError: there is no such run.
    """
    server = Server(Address.parse(url))
    if _patiently(lambda: _look_at(server, run)[0]) is None:
        raise _no_such_run(server, run)
    return Reader(server, run)


def list_runs(url: str) -> list[dict[str, Any]]:
    """Return the runs of a Redis, by name, as plain JSON; a run that cannot be read has a "problem"."""
    address = Address.parse(url)
    with closing(Directory(address)) as directory:
        names, damaged = _patiently(directory.names), _patiently(directory.damaged)
    with closing(Server(address)) as server:
        found = [_described(server, name) for name in names]
    return [*filter(None, found), *({"run": name, **NOTHING, "problem": NO_NAME} for name in damaged)]


def remove_run(url: str, run: str) -> None:
    """Remove a run with all its scores; a job that still trains it stops.

    Raises:
        UsageError: there is no such run.
    """
    address = Address.parse(url)
    with closing(Directory(address)) as directory, closing(Server(address)) as server:
        if run not in _patiently(directory.damaged):
            _patiently(lambda: _remove(server, run))
        _patiently(lambda: directory.remove(run))


def _patiently(call: Callable[[], T]) -> T:
    """Return the result of a call to a Redis that may just be starting."""
    try:
        return until_reached(call, PATIENCE)
    except StoreUnavailable as error:
        problem = error.__cause__
        if isinstance(problem, NoAnswer):
            raise StoreUnavailable(
                f"{problem}; check the address, and that the server is running"
            ) from problem
        if isinstance(problem, Unreachable):
            raise StoreUnavailable(str(problem)) from problem
        raise


def _warn_of_settings(server: Server) -> None:
    """Warn of settings of the server that can cost scores, or its machine's memory."""

    def settings() -> dict[str, Any]:
        with server.faults():
            found: dict[str, Any] = server.redis.info("memory")
        return found

    found = _patiently(settings)
    policy = found.get("maxmemory_policy", NO_EVICTION)
    if policy != NO_EVICTION:
        warnings.warn(
            f"{server.address} has maxmemory-policy {policy}: once its memory is full, it deletes scores and "
            f"plans; set {NO_EVICTION}, as docker/redis.conf does",
            stacklevel=3,
        )
    if found.get("maxmemory") == 0:
        warnings.warn(
            f"{server.address} has no maxmemory: while no planner runs, pushed scores can take all of its "
            "machine's memory; set one, as docker/redis.conf does",
            stacklevel=3,
        )


def _join(server: Server, run: Run) -> Meta:
    """The meta of a run. The first rank begins the run, and the others wait for it."""
    while (meta := _patiently(lambda: _find_or_begin(server, run))) is None:
        time.sleep(LOOK)
    unlike = differences(meta.facts, run.facts())
    if unlike:
        raise UsageError(
            f"run {run.name!r} at {server.address} is a different run: {unlike}; choose another name, "
            "or remove it with sadp-dist rm"
        )
    return meta


def _find_or_begin(server: Server, run: Run) -> Meta | None:
    """The meta of a run; None while another rank begins it, so that only one writes all examples."""
    keys = Keys(run.name)
    with server.faults():
        meta = Meta.unpack(server.redis.get(keys.meta))
        if meta is not None or not server.redis.set(
            keys.beginning, b"1", nx=True, px=int(BEGINNING_FOR * 1000)
        ):
            return meta
        try:
            raw = server.redis.get(keys.meta)  # again: another rank may have begun it just now
            meta = Meta.unpack(raw)
            return meta or begin(server, keys, Service(Engine(run), secrets.randbits(64)), raw)[0]
        except Changed:
            return None
        finally:
            server.redis.unlink(keys.beginning)


def _described(server: Server, run: str) -> dict[str, Any] | None:
    """The entry of a run in a list; None if the run is gone."""
    described: dict[str, Any] = {"run": run, **NOTHING}
    try:
        meta, planner = _patiently(lambda: _look_at(server, run))
        damaged = planner is None and _patiently(lambda: _has_damaged_lease(server, run))
    except Unreadable as problem:
        return {**described, "problem": str(problem)}
    if meta is None:
        return None
    epochs = epochs_of_facts(meta.facts)

    def history() -> list[EpochRecord]:
        found: list[EpochRecord] = _patiently(lambda: Reader(server, run).query("history", {}))
        return found

    try:
        state = run_state(meta.epoch, epochs, planner is not None, history)
    except (UsageError, StoreUnavailable) as problem:  # removed meanwhile, or damaged
        if isinstance(problem.__cause__, NoAnswer):
            raise
        return {**described, "problem": str(problem)}
    return {
        **described,
        "state": state,
        "since": meta.saved,
        "dataset_size": meta.facts.get("dataset_size"),
        "method": meta.facts.get("pruning.method"),
        "epoch": meta.epoch,
        "epochs": epochs,
        "created": meta.created,
        "last_snapshot": meta.saved,
        "planner": planner,
        **({"problem": NO_LEASE} if damaged else {}),
    }


def _look_at(server: Server, run: str) -> tuple[Meta | None, str | None]:
    """The meta of a run, if there is one, and the name of its planner."""
    keys = Keys(run)
    with server.faults():
        return Meta.unpack(server.redis.get(keys.meta)), holder(server.redis.get(keys.lease))


def _has_damaged_lease(server: Server, run: str) -> bool:
    """Whether there is a lease that names no planner."""
    with server.faults():
        try:
            lease = server.redis.get(Keys(run).lease)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return True
    return lease is not None and holder(lease) is None


def _no_such_run(server: Server, run: str) -> UsageError:
    with closing(Directory(server.address)) as directory:
        names = ", ".join(_patiently(directory.names)) or "none"
    return UsageError(f"run={run!r} is not at {server.address}; there are: {names}")


def _remove(server: Server, run: str) -> None:
    keys = Keys(run)
    with server.faults(), server.redis.pipeline() as pipe:
        pipe.watch(keys.meta)
        try:
            raw = pipe.get(keys.meta)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            raw = b""  # SET replaces it
        if raw is None or raw == REMOVED:
            raise _no_such_run(server, run)
        # First without the mark: a Redis without memory never refuses UNLINK, but it refuses SET.
        pipe.unlink(*keys.named_in(raw), keys.status)
        pipe.multi()
        pipe.set(keys.meta, REMOVED, ex=REMOVED_FOR)
        pipe.unlink(*keys.named_in(raw), keys.status)
        pipe.expire(keys.planner, REMOVED_FOR)
        pipe.execute()
    if _has_damaged_lease(server, run):
        with server.faults():
            server.redis.unlink(keys.lease)


def _rank() -> int:
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    return int(os.environ.get("RANK", "0"))
