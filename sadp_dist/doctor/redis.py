"""Checks of a Redis server: connection, version, persistence, memory and permissions."""

from __future__ import annotations

import secrets
import statistics
import time
import warnings
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
"""The most that a run needs in Redis per example; docker/redis.conf has the same number."""
LEAST = 2**30
"""Bytes of maxmemory that are advised for small runs."""
SLOW = 0.1
"""Seconds of a round trip above which the start of an epoch is noticeably slower."""
SKEW = 5.0
"""Seconds by which two clocks may differ before a warning."""
TIMEOUT = 10.0
"""Seconds for each step of the test run."""
TEST_RUN_TIMEOUT = 60.0


def _is_redis(options: DoctorOptions) -> bool:
    return options.store_kind == "redis"


@check(
    "Redis reached",
    "A server answers at the store's URL and accepts the user and the password.",
    "Start a server with docker/redis.conf, or give another with `--store redis://HOST:PORT/DB`. Set the "
    "user and the password in `SADP_DIST_REDIS_USERNAME` and `SADP_DIST_REDIS_PASSWORD`.",
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
    latency = statistics.median(times[1:])  # the first one includes connecting
    found = f"{server.address} answers in {1000 * latency:.2g} ms"
    return Status.OK if latency < SLOW else Status.WARNING, found


@check(
    "Redis version",
    "The store requires Redis 6.2 or later, or Valkey.",
    "`sudo apt-get install redis-server`, or use the image `redis:7.4`.",
    applies=_is_redis,
    needs=("Redis reached",),
)
def version(options: DoctorOptions) -> tuple[Status, str]:
    found = str(_info(options)["redis_version"])
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdecimal())
    return Status.OK if numbers >= OLDEST else Status.BROKEN, found


@check(
    "Redis persistence",
    "With `appendonly yes`, acknowledged writes survive a crash of Redis. Without it, a killed server "
    "restarts empty, and a job survives only if its planner still runs.",
    "`redis-cli -h HOST -p PORT config set appendonly yes`, and `appendonly yes` in its redis.conf.",
    applies=_is_redis,
    needs=("Redis reached",),
)
def persistence(options: DoctorOptions) -> tuple[Status, str] | tuple[Status, str, str]:
    info = _info(options)
    if not info["aof_enabled"]:
        return Status.WARNING, "appendonly is off", _cli(options, "config set appendonly yes")
    if info["aof_last_write_status"] != "ok" or info["aof_last_bgrewrite_status"] != "ok":
        mend = "Free space on the disk of Redis, and read its log."
        return Status.BROKEN, "appendonly is on, but Redis cannot write the file", mend
    return Status.OK, "appendonly is on"


@check(
    "Redis eviction",
    "With `noeviction`, Redis refuses writes when its memory is full, and training waits. With any other "
    "policy, Redis deletes scores.",
    "`redis-cli -h HOST -p PORT config set maxmemory-policy noeviction`, and the same in its redis.conf.",
    applies=_is_redis,
    needs=("Redis reached",),
)
def eviction(options: DoctorOptions) -> tuple[Status, str] | tuple[Status, str, str]:
    info = _info(options)
    policy = info["maxmemory_policy"]
    if policy == "noeviction":
        return Status.OK, policy
    state = Status.BROKEN if info["maxmemory"] else Status.WARNING  # without a limit Redis evicts nothing
    return state, f"maxmemory-policy is {policy}", _cli(options, "config set maxmemory-policy noeviction")


@check(
    "Redis memory",
    "A run needs up to 200 bytes per example. If the memory is full, training waits until there is space. "
    "Without `maxmemory`, Redis takes memory until its machine has none.",
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
        return Status.BROKEN, str(error), "Give the user the permissions in docker/redis.conf."
    needed = BYTES_OF_AN_EXAMPLE * examples
    used, limit = info["used_memory"], info["maxmemory"] or info.get("total_system_memory", 0)
    of = "maxmemory" if info["maxmemory"] else "the machine's memory"
    found = f"{runs} need {size(needed)} of {size(limit)} ({of}); {size(used)} are in use"
    if max(needed, used) <= limit or not limit:
        if info["maxmemory"]:
            return Status.OK, found
        found += "; there is no maxmemory: while no planner runs, pushed scores can take all of it"
        return (
            Status.WARNING,
            found,
            _cli(options, f"config set maxmemory {max(2 * needed, LEAST) // 2**20}mb"),
        )
    if not info["maxmemory"]:
        return Status.BROKEN, found, "Use a machine with more memory, or remove runs with `sadp-dist rm`."
    return (
        Status.BROKEN,
        found,
        _cli(options, f"config set maxmemory {2 * max(needed, used) // 2**20 + 64}mb"),
    )


@check(
    "Redis clock",
    "Run lists compare times of Redis with this machine's clock. Plans and scores do not depend on clocks.",
    "`sudo timedatectl set-ntp true` on both machines.",
    applies=_is_redis,
    needs=("Redis reached",),
)
def clock(options: DoctorOptions) -> tuple[Status, str]:
    now = _server(options).redis.info("server").get("server_time_usec")
    if now is None:
        return Status.OK, "this Redis version does not report its time"
    ahead = now / 1e6 - time.time()
    found = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    return Status.OK if abs(ahead) < SKEW else Status.WARNING, found


@check(
    "Redis permissions",
    "A test run of 16 examples is created, planned and removed. This shows that the user has all permissions "
    "that the store needs.",
    "Give the user the permissions in docker/redis.conf.",
    applies=_is_redis,
    needs=("Redis reached", "torch"),
    patience=TEST_RUN_TIMEOUT,
)
def permissions(options: DoctorOptions) -> tuple[Status, str]:
    from sadp_dist.store import remove_run

    assert options.store is not None
    run = f"doctor-{secrets.token_hex(4)}"
    started = time.perf_counter()
    try:
        _test_run(options.store, run)
        remove_run(options.store, run)
    except (StoreUnavailable, UsageError) as error:
        with suppress(StoreUnavailable, UsageError):
            remove_run(options.store, run)
        return Status.BROKEN, str(error)
    return Status.OK, f"test run created, planned and removed in {time.perf_counter() - started:.1f} s"


def _test_run(url: str, run: str) -> None:
    """Do what a rank does in two epochs."""
    from sadp_dist.selection import PruningConfig
    from sadp_dist.store import connect

    pruning = PruningConfig(ratio=0.5, epochs=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other checks say more of them
        store = connect(url, run, 16, pruning, planner="rank0", timeout=TIMEOUT)
    with store:
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
    """Return the number of examples of all runs, with the one to be trained, and their description."""
    from sadp_dist.store import list_runs

    assert options.store is not None
    held = {run["run"]: run["dataset_size"] or 0 for run in list_runs(options.store)}
    new = examples_of(options)
    runs = f"its {len(held)} run(s)"
    if new is not None and (options.config is None or options.config.name not in held):
        return sum(held.values()) + new, f"{runs} and a new one of {new:,} examples"
    return sum(held.values()), runs


def _cli(options: DoctorOptions, command: str) -> str:
    """Return a command for the server's administrator, in Markdown."""
    address = _server(options).address
    tls = " --tls" if address.tls else ""
    setting = command.removeprefix("config set ")
    return (
        f"`redis-cli -h {address.host} -p {address.port}{tls} {command}`, and `{setting}` in its redis.conf"
    )
