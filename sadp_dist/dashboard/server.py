"""Serves the dashboard with uvicorn until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import LOGGING_CONFIG

from sadp_dist.dashboard.connections import BACKLOG, LimitedConnection, SaysOnce
from sadp_dist.dashboard.open_runs import Runs
from sadp_dist.errors import StoreUnavailable, UsageError


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached only from this machine.

    Raises:
        UsageError: the host has no address.
    """
    return all(ipaddress.ip_address(address).is_loopback for _, address in _addresses(host))


def serve(app: ASGIApp, runs: Runs, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve the dashboard until Ctrl-C or SIGTERM, which end the process with status 0.

    Args:
        app: from `create_app`.
        runs: that it shows. If the store cannot be reached, a warning is printed.
        host, port: where to listen; port 0 selects a free one.
        say: called with the line that contains the address.

    Raises:
        UsageError: it cannot listen on the address, or the store refuses the user.
    """
    _on_signals(lambda: sys.exit(0))
    asyncio.run(_serve(app, runs, _listen(host, port), say))


async def _serve(app: ASGIApp, runs: Runs, listener: socket.socket, say: Callable[[str], None]) -> None:
    config = uvicorn.Config(
        app,
        log_level="error",
        log_config=None if logging.getLogger("sadp_dist").level else LOGGING_CONFIG,
        access_log=False,
        http=LimitedConnection,
        ws="none",
        timeout_keep_alive=5,
        backlog=BACKLOG,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    try:
        await runs.list()
    except StoreUnavailable as error:
        warnings.warn(f"{error}; the page shows the runs when the store can be reached", stacklevel=1)
    asyncio.get_running_loop().set_exception_handler(SaysOnce(lambda line: warnings.warn(line, stacklevel=1)))
    host, port = listener.getsockname()[:2]
    say(f"dashboard of {runs.name}: http://{f'[{host}]' if ':' in host else host}:{port}")
    _on_signals(lambda: None)  # uvicorn has its own handlers, and repeats the signal at its end
    await _Server(config).serve(sockets=[listener])


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End without error messages for the requests that still wait for a store."""
        logging.disable()
        await super().shutdown(sockets)


def _on_signals(call: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: call())


def _listen(host: str, port: int) -> socket.socket:
    family, address = _addresses(host)[0]
    try:
        listener = socket.create_server((address, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UsageError(
            f"cannot listen on --host {host} --port {port} ({reason}); choose another host or port"
        ) from None
    listener.setsockopt(
        socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
    )  # otherwise each response waits 40 ms for an ACK
    return listener


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(
            f"--host {host} is not an address of this machine ({error.strerror}); give one, or 0.0.0.0"
        ) from None
    return [(family, str(address[0])) for family, _, _, _, address in found]
