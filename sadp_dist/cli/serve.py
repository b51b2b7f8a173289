"""``sadp-dist serve``: a planner process for the runs in Redis."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from sadp_dist.cli import log_format
from sadp_dist.cli.imports import Imports
from sadp_dist.errors import UsageError
from sadp_dist.imports import import_modules
from sadp_dist.passwords import without_password
from sadp_dist.terminal import say


def serve(
    store: Annotated[
        str,
        typer.Option(
            "--store", help="URL of the Redis server.", metavar="redis://HOST[:PORT][/DB]", show_default=False
        ),
    ],
    run: Annotated[
        str | None, typer.Option("--run", help="Plan only this run.", show_default="all runs")
    ] = None,
    imports: Imports = None,
    log_format: log_format.Option = None,
) -> None:
    """Plan the epochs of the runs in a Redis server, until Ctrl-C or SIGTERM.

    Without it, rank 0 of each job plans (store.planner):

        sadp-dist serve --store redis://redis.example:6379/0

    If a run uses a pruning rule from a module of your own:

        sadp-dist serve --store redis://redis.example:6379/0 --imports my_rules

    SADP_DIST_REDIS_USERNAME, SADP_DIST_REDIS_PASSWORD and SADP_DIST_REDIS_CA set the user, the password and
    the CA certificate for TLS.
    """
    if store.partition(":")[0] not in ("redis", "rediss"):
        raise UsageError(
            f"--store {without_password(store)} must be a redis:// or rediss:// URL; other stores plan "
            "without sadp-dist serve"
        )
    import_modules(imports or [])
    from sadp_dist.store.backends.redis.serving import serve

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    serve(store, run, say, stopped)
