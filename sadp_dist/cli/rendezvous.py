"""``sadp-dist rendezvous``: a rendezvous server for elastic torchrun jobs, outside of their nodes."""

from __future__ import annotations

import errno
import pickletools
import re
import signal
import socket
import threading
from base64 import b64decode
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import typer

from sadp_dist.errors import UsageError

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

JOB = "torch.rendezvous."
"""Prefix of the key in which torchrun's c10d backend keeps a job's members; the ``--rdzv-id`` follows."""

ROUND = re.compile(r"torch\.rendezvous\..*\.\d+/")
"""Keys with the messages of a rendezvous round, below a job's key."""

FORGET_AFTER = 30.0
"""Seconds after which a job that has ended is deleted; until then its slower nodes still look at its key."""


def rendezvous(
    host: Annotated[str, typer.Option("--host", help="Address of this machine to listen on.")] = "0.0.0.0",
    port: Annotated[int, typer.Option("--port", help="Port to listen on.", min=1, max=65535)] = 29400,
) -> None:
    """Run a rendezvous server for elastic torchrun jobs, until Ctrl-C or SIGTERM.

    Without it, torchrun's first node hosts the rendezvous, and the job ends when that node fails. With it,
    any node may fail and come back. Several jobs can share the server; each has its own --rdzv-id.

    There is no password, and anyone who can connect can run code on the nodes: listen only on a trusted
    network.

        sadp-dist rendezvous --port 29400

    On every node, if meet.example is the machine that runs the server:

        torchrun --rdzv-backend c10d --rdzv-endpoint meet.example:29400 --rdzv-conf is_host=false ...
    """
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    store = _open_store(host, port)
    print(
        f"rendezvous at {host}:{port}; run torchrun with --rdzv-backend c10d --rdzv-conf is_host=false",
        flush=True,
    )
    seen: dict[str, bytes] = {}
    while not stopped.wait(FORGET_AFTER):
        seen = _forget_ended_jobs(store, seen)


def _open_store(host: str, port: int) -> TCPStore:
    """Return a TCPStore that listens on an address of this machine.

    Raises:
        UsageError: the port is in use or not permitted, or the address is not one of this machine.
    """
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"--port={port} is in use on this machine; choose another port") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UsageError(f"--port={port} requires root; choose a port from 1024 to 65535") from error
        raise UsageError(
            f"--host={host!r} is not an address of this machine; give one, or 0.0.0.0 for all of them"
        ) from error
    # Importing torch takes a second: report errors first.
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    reached_at = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    # TCPStore itself would listen on all addresses, so pass it a socket that listens on one.
    return TCPStore(
        reached_at, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
    )


def _forget_ended_jobs(store: TCPStore, seen: dict[str, bytes]) -> dict[str, bytes]:
    """Delete the jobs that have ended and not changed since they were `seen`, and return the other jobs.

    When a job ends, torchrun closes its rendezvous for good. Deleting it lets a job of that name start again.
    A job that does not change may be at work: an agent that was late with its keep-alives drops itself, and
    its ranks train on. Without the key, it would wait for it and then end them.
    """
    keys = store.list_keys()
    present = {job: store.get(job) for job in keys if job.startswith(JOB) and not ROUND.match(job)}
    for job in [job for job, state in present.items() if seen.get(job) == state and _is_closed(state)]:
        of_its_rounds = re.compile(rf"{re.escape(job)}\.\d+/")
        for key in filter(of_its_rounds.match, keys):
            store.delete_key(key)
        store.delete_key(job)
        del present[job]
    return present


def _is_closed(state: bytes) -> bool:
    """Return whether torchrun has closed a rendezvous. Its state is a pickle, which is read but never run."""
    try:
        read = [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(b64decode(state))]
    except ValueError:
        return False
    attributes = [step for step in read if step[0] != "MEMOIZE"]
    return any(name == "closed" and value == "NEWTRUE" for (_, name), (value, _) in pairwise(attributes))
