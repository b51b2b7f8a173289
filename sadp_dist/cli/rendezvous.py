"""``sadp-dist rendezvous``: where the nodes of an elastic torchrun job meet, on none of them."""

from __future__ import annotations

import errno
import re
import signal
import socket
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

JOB = "torch.rendezvous."
"""torchrun's c10d backend keeps who takes part in a job in one key: this and the ``--rdzv-id``."""

ROUND = re.compile(r"torch\.rendezvous\..*\.\d+/")
"""What the agents tell each other in each round is in keys of its own below that."""

FORGET_AFTER = 30.0
"""Seconds. Agents that live renew their job's key every 5 s (torchrun's ``keep_alive_interval``)."""


def rendezvous(
    host: Annotated[str, typer.Option("--host", help="Address of this machine to listen at.")] = "0.0.0.0",
    port: Annotated[int, typer.Option("--port", help="Port to listen at.", min=1, max=65535)] = 29400,
) -> None:
    """Hold the meeting point of elastic torchrun jobs, until Ctrl-C or SIGTERM.

    Without it torchrun's first node holds it, and the job ends with that node. With it any node may die and
    come back. Jobs differ by their --rdzv-id. Nobody is asked for a password, and who reaches it can make the
    nodes run code: listen on a network that you trust.

        sadp-dist rendezvous --port 29400

    And on every node, where meet.example is the machine that runs this:

        torchrun --rdzv-backend c10d --rdzv-endpoint meet.example:29400 --rdzv-conf is_host=false ...
    """
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    store = _open_store(host, port)
    print(
        f"rendezvous at {host}:{port}; torchrun joins with --rdzv-backend c10d --rdzv-conf is_host=false",
        flush=True,
    )
    seen: dict[str, bytes] = {}
    while not stopped.wait(FORGET_AFTER):
        seen = _forget_ended_jobs(store, seen)


def _open_store(host: str, port: int) -> TCPStore:
    """Listen at an address and serve a TCPStore there.

    Raises:
        UsageError: the port is taken, or the address is not one of this machine.
    """
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"--port={port} is taken on this machine: choose another one") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UsageError(f"--port={port} is not allowed to this user: choose one from 1024 on") from error
        raise UsageError(
            f"--host={host!r} is not an address of this machine: 0.0.0.0 stands for all that it has"
        ) from error
    # After what is wrong was said: torch takes a second.
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    reached_at = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    # TCPStore would listen on all addresses; so it is given what listens at one.
    return TCPStore(
        reached_at, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
    )


def _forget_ended_jobs(store: TCPStore, seen: dict[str, bytes]) -> dict[str, bytes]:
    """Delete the jobs whose agents have been silent since they were last `seen`, and return those left.

    torchrun closes a job's rendezvous for ever when it ends; forgotten, a job may start again by its name.
    """
    keys = store.list_keys()
    present = {job: store.get(job) for job in keys if job.startswith(JOB) and not ROUND.match(job)}
    for job in [job for job, state in present.items() if seen.get(job) == state]:
        of_its_rounds = re.compile(rf"{re.escape(job)}\.\d+/")
        for key in filter(of_its_rounds.match, keys):
            store.delete_key(key)
        store.delete_key(job)
        del present[job]
    return present
