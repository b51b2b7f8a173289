"""HTTP connections with an end: a time limit for each request, and a cap on their number."""

from __future__ import annotations

import asyncio
import resource
import time
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_TIMEOUT = 10.0
"""Seconds that a client may take for a request, from its first byte or the connection to its last byte."""
MOST = 512
BACKLOG = 32
"""Connections that asyncio accepts at once, before it looks at any."""
OTHER_FILES = 4 * BACKLOG
"""Open files that are left for connections just accepted, the store and images."""


def most_connections() -> int:
    """Return how many connections may be open: fewer than the process may open files."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if files == resource.RLIM_INFINITY else max(min(MOST, files - OTHER_FILES), files // 4)


class LimitedConnection(H11Protocol):
    """uvicorn's connection, closed if its client is too slow.

    Above the cap, a new connection takes the place of the one that has waited longest for its client. So a
    client that sends nothing cannot keep others out.
    """

    _late: asyncio.TimerHandle | None = None
    _since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        if len(self.connections) >= most_connections() and not self._replace_oldest():
            transport.abort()
            return
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.waits:
            self._stop_clock()
        elif self._late is None and not self.transport.is_closing():
            self._expect()

    def on_response_complete(self) -> None:
        self._stop_clock()  # uvicorn's timeout for an idle connection begins
        self._since = time.monotonic()
        super().on_response_complete()

    @property
    def waits(self) -> bool:
        """Whether the next bytes have to come from the client."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _expect(self) -> None:
        self._since = time.monotonic()
        self._late = self.loop.call_later(REQUEST_TIMEOUT, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _replace_oldest(self) -> bool:
        """Close the connection that has waited longest for its client; False if none waits."""
        waiting = [other for other in cast("set[LimitedConnection]", self.connections) if other.waits]
        oldest = min(waiting, key=lambda other: other._since, default=None)
        if oldest is None:
            return False
        oldest.transport.abort()
        self.connections.discard(oldest)
        return True


class SaysOnce:
    """An asyncio exception handler that says once that no connection can be accepted.

    Args:
        say: receives the line.
    """

    def __init__(self, say: Any) -> None:
        self._say, self._said = say, False

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "accept" not in context.get("message", "") or not isinstance(context.get("exception"), OSError):
            loop.default_exception_handler(context)
        elif not self._said:
            self._said = True
            self._say(f"cannot accept a connection ({context['exception'].strerror}); see ulimit -n")
