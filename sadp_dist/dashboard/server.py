"""A socket, and uvicorn behind it until Ctrl-C or SIGTERM."""

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

from sadp_dist.dashboard.open_runs import Runs
from sadp_dist.errors import StoreUnavailable, UsageError


def is_loopback(host: str) -> bool:
    """Whether only this machine gets at an address, by whatever name it is called.

    Raises:
        UsageError: there is no such address.
    """
    return all(ipaddress.ip_address(address).is_loopback for _, address in _addresses(host))


def serve(app: ASGIApp, runs: Runs, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve the dashboard until Ctrl-C or SIGTERM, which end the process with status 0.

    Args:
        app: from `create_app`.
        runs: which it shows. A store that cannot be reached yet is warned of.
        host, port: where to listen; port 0 takes a free one.
        say: gets the line with the address.

    Raises:
        UsageError: the address cannot be listened at, or the store does not let one in.
    """
    _on_signals(lambda: sys.exit(0))
    asyncio.run(_serve(app, runs, _listen(host, port), say))


async def _serve(app: ASGIApp, runs: Runs, listener: socket.socket, say: Callable[[str], None]) -> None:
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    try:
        await runs.list()
    except StoreUnavailable as error:
        warnings.warn(f"{error}; the page is there, and shows the runs once it can", stacklevel=1)
    host, port = listener.getsockname()[:2]
    say(f"dashboard of {runs.name}: http://{f'[{host}]' if ':' in host else host}:{port}")
    _on_signals(lambda: None)  # uvicorn has its own, and sends the signal once more when it has ended
    await _Server(config).serve(sockets=[listener])


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, and cut off who still waits for a store: that is no error to be told of."""
        logging.disable()
        await super().shutdown(sockets)


def _on_signals(call: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: call())


def _listen(host: str, port: int) -> socket.socket:
    family, address = _addresses(host)[0]
    try:
        listener = socket.create_server((address, port), family=family, backlog=128)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UsageError(
            f"--host {host} --port {port} cannot be listened at ({reason}); choose another one"
        ) from None
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each answer waits 40 ms for an ACK
    return listener


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"--host {host} is not an address of this machine ({error.strerror})") from None
    return [(family, str(address[0])) for family, _, _, _, address in found]
