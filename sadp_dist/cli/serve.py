"""``sadp-dist serve``: the planner beside a store in Redis."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from sadp_dist.errors import UsageError


def serve(
    store: Annotated[
        str,
        typer.Option("--store", help="The Redis.", metavar="redis://HOST[:PORT][/DB]", show_default=False),
    ],
    run: Annotated[str | None, typer.Option("--run", help="Plan this run alone; by default all.")] = None,
) -> None:
    """Plan the epochs of the runs in a Redis, until Ctrl-C or SIGTERM.

    Without it rank 0 of each job does that (store.planner). User, password and the authority behind a TLS
    certificate may come from SADP_DIST_REDIS_USERNAME, SADP_DIST_REDIS_PASSWORD and SADP_DIST_REDIS_CA:

        sadp-dist serve --store redis://redis.example:6379/0
    """
    if store.partition(":")[0] not in ("redis", "rediss"):
        raise UsageError("--store is not a redis:// or rediss:// URL; other stores plan by themselves")
    from sadp_dist.store.backends.redis.serving import serve

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    serve(store, run, lambda line: print(line, flush=True), stopped)
