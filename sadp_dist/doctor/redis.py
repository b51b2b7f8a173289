"""The check of a Redis server: reachable, persistent, large enough, and open to what the store does."""

from __future__ import annotations

import secrets
import statistics
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from sadp_dist.doctor.check import Status, check
from sadp_dist.doctor.configuration import examples_of
from sadp_dist.doctor.machine import size
from sadp_dist.doctor.options import DoctorOptions
from sadp_dist.errors import StoreUnavailable, UsageError

if TYPE_CHECKING:
    from sadp_dist.store.backends.redis.server import Server

OLDEST = (6, 2)
BYTES_OF_AN_EXAMPLE = 200
"""What a run needs in Redis at most; docker/redis.conf says the same."""
SLOW = 0.1
"""Seconds of a round trip, above which a rank notices it at the start of an epoch."""
SKEW = 5.0
"""Seconds that two clocks may differ before records are hard to compare."""
TIMEOUT = 10.0
"""Seconds for each step of the rehearsal."""
REHEARSAL = 60.0


def _is_redis(options: DoctorOptions) -> bool:
    return options.store_kind == "redis"


@check(
    "Redis reached",
    "A server answers at the store's URL, and takes the user and the password.",
    "Start one with docker/redis.conf, or name another with `--store redis://HOST:PORT/DB`; user and "
    "password go into `SADP_DIST_REDIS_USERNAME` and `SADP_DIST_REDIS_PASSWORD`.",
    applies=_is_redis,
    needs=("redis",),
)
def reached(options: DoctorOptions) -> tuple[Status, str]:
    from sadp_dist.store.connection import Unreachable

    server, times = _server(options), []
    try:
        for _ in range(5):
            started = time.perf_counter()
            with server.faults():
                server.redis.info("server")
            times.append(time.perf_counter() - started)
    except (Unreachable, StoreUnavailable, UsageError) as error:
        return Status.BROKEN, str(error)
    latency = statistics.median(times[1:])  # the first one opened the connection
    found = f"{server.address} answers in {1000 * latency:.2g} ms"
    return Status.OK if latency < SLOW else Status.WARNING, found


@check(
    "Redis version",
    "The store needs Redis 6.2 or later, or Valkey.",
    "`sudo apt-get install redis-server`, or the image `redis:7`.",
    applies=_is_redis,
    needs=("Redis reached",),
)
def version(options: DoctorOptions) -> tuple[Status, str]:
    found = str(_info(options)["redis_version"])
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdecimal())
    return Status.OK if numbers >= OLDEST else Status.BROKEN, found


@check(
    "Redis persistence",
    "With `appendonly yes` what Redis has acknowledged is there after a crash. Without, a server that is "
    "killed comes back empty, and a job survives that only while its planner does.",
    "`redis-cli -h HOST -p PORT config set appendonly yes`, and `appendonly yes` in its redis.conf.",
    applies=_is_redis,
    needs=("Redis reached",),
)
def persistence(options: DoctorOptions) -> tuple[Status, str] | tuple[Status, str, str]:
    info = _info(options)
    if not info["aof_enabled"]:
        return Status.WARNING, "appendonly is off", _cli(options, "config set appendonly yes")
    if info["aof_last_write_status"] != "ok" or info["aof_last_bgrewrite_status"] != "ok":
        mend = "Make room on Redis's disk, and look at its log."
        return Status.BROKEN, "appendonly is on, but it cannot write its file", mend
    return Status.OK, "appendonly is on"


@check(
    "Redis eviction",
    "With `noeviction` Redis refuses writes when its memory is full, and training waits. With any other "
    "policy it throws scores away.",
    "`redis-cli -h HOST -p PORT config set maxmemory-policy noeviction`, and the same in its redis.conf.",
    applies=_is_redis,
    needs=("Redis reached",),
)
def eviction(options: DoctorOptions) -> tuple[Status, str] | tuple[Status, str, str]:
    info = _info(options)
    policy = info["maxmemory_policy"]
    if policy == "noeviction":
        return Status.OK, policy
    state = Status.BROKEN if info["maxmemory"] else Status.WARNING  # without a limit nothing is evicted yet
    return state, f"maxmemory-policy is {policy}", _cli(options, "config set maxmemory-policy noeviction")


@check(
    "Redis memory",
    "A run needs up to 200 bytes an example. Where memory runs out, training waits until there is room.",
    "`redis-cli -h HOST -p PORT config set maxmemory 4gb`, and the same in its redis.conf; or remove runs "
    "with `sadp-dist rm`.",
    applies=_is_redis,
    needs=("Redis reached",),
    patience=60,
)
def memory(options: DoctorOptions) -> tuple[Status, str] | tuple[Status, str, str]:
    info = _info(options)
    try:
        examples, runs = _examples(options)
    except (StoreUnavailable, UsageError) as error:
        return Status.BROKEN, str(error), "Give the user the rights of docker/redis.conf."
    needed = BYTES_OF_AN_EXAMPLE * examples
    used, limit = info["used_memory"], info["maxmemory"] or info.get("total_system_memory", 0)
    of = "maxmemory" if info["maxmemory"] else "its machine's memory"
    found = f"{runs} need {size(needed)} of {size(limit)} ({of}), of which {size(used)} are in use"
    if max(needed, used) <= limit or not limit:
        return Status.OK, found
    if not info["maxmemory"]:
        return Status.BROKEN, found, "Give Redis a larger machine, or remove runs with `sadp-dist rm`."
    return (
        Status.BROKEN,
        found,
        _cli(options, f"config set maxmemory {2 * max(needed, used) // 2**20 + 64}mb"),
    )


@check(
    "Redis clock",
    "Lists of runs say how long ago something was, by this machine's clock. What the store decides does not "
    "depend on it.",
    "`sudo timedatectl set-ntp true` on both machines.",
    applies=_is_redis,
    needs=("Redis reached",),
)
def clock(options: DoctorOptions) -> tuple[Status, str]:
    now = _server(options).redis.info("server").get("server_time_usec")
    if now is None:
        return Status.OK, "this version does not tell its time"
    ahead = now / 1e6 - time.time()
    found = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    return Status.OK if abs(ahead) < SKEW else Status.WARNING, found


@check(
    "Redis rehearsal",
    "A run of 16 examples is begun, planned and removed again, so the user may do what the store does.",
    "Give the user the rights of docker/redis.conf.",
    applies=_is_redis,
    needs=("Redis reached", "torch"),
    patience=REHEARSAL,
)
def rehearsal(options: DoctorOptions) -> tuple[Status, str]:
    from sadp_dist.store import remove_run

    assert options.store is not None
    run = f"doctor-{secrets.token_hex(4)}"
    started = time.perf_counter()
    try:
        _rehearse(options.store, run)
        remove_run(options.store, run)
    except (StoreUnavailable, UsageError) as error:
        with suppress(StoreUnavailable, UsageError):
            remove_run(options.store, run)
        return Status.BROKEN, str(error)
    return Status.OK, f"a run was begun, planned and removed in {time.perf_counter() - started:.1f} s"


def _rehearse(url: str, run: str) -> None:
    """What a rank does in two epochs."""
    from sadp_dist.selection import PruningConfig
    from sadp_dist.store import connect

    pruning = PruningConfig(ratio=0.5, epochs=2)
    with connect(url, run, 16, pruning, planner="rank0", timeout=TIMEOUT) as store:
        shard = store.plan(0, 0, 1)
        store.push(shard.indices, shard.weights, epoch=0)
        store.flush()
        store.plan(1, 0, 1)


@cache
def _server(options: DoctorOptions) -> Server:
    from sadp_dist.store.backends.redis.address import Address
    from sadp_dist.store.backends.redis.server import Server

    assert options.store is not None
    return Server(Address.parse(options.store))


@cache
def _info(options: DoctorOptions) -> dict[str, Any]:
    info: dict[str, Any] = _server(options).redis.info()
    return info


def _examples(options: DoctorOptions) -> tuple[int, str]:
    """The examples of the runs that the server has, and of the one that is to come; and whose they are."""
    from sadp_dist.store import list_runs

    assert options.store is not None
    held = {run["run"]: run["dataset_size"] or 0 for run in list_runs(options.store)}
    coming = examples_of(options)
    whose = f"its {len(held)} run(s)"
    if coming is not None and (options.config is None or options.config.name not in held):
        return sum(held.values()) + coming, f"{whose} and one of {coming:,} examples"
    return sum(held.values()), whose


def _cli(options: DoctorOptions, command: str) -> str:
    """A command for the server, as its administrator types it."""
    address = _server(options).address
    tls = " --tls" if address.tls else ""
    setting = command.removeprefix("config set ")
    return (
        f"`redis-cli -h {address.host} -p {address.port}{tls} {command}`, and `{setting}` in its redis.conf"
    )
