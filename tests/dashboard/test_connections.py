"""Clients of the dashboard that never finish a request keep nobody out, and are closed."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.dashboard.process import Dashboard
from tests.store.redis_server import until

pytestmark = pytest.mark.slow
UNFINISHED = {
    "nothing": b"",
    "half a header": b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\nX-Slow",
    "half a body": b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken=",
}


def connected(stack: ExitStack, dashboard: Dashboard, sent: bytes) -> socket.socket:
    host, port = dashboard.address.removeprefix("http://").split(":")
    client = stack.enter_context(socket.create_connection((host, int(port)), timeout=240))
    client.sendall(sent)
    return client


def closed(client: socket.socket) -> bool:
    try:
        return client.recv(65536) == b"" or closed(client)
    except ConnectionError:
        return True


def test_more_unfinished_requests_than_open_files_leave_the_dashboard_answering(tmp_path):
    with Dashboard(tmp_path) as dashboard, ExitStack() as stack:
        resource.prlimit(dashboard.process.pid, resource.RLIMIT_NOFILE, (256, 256))
        for _ in range(300):
            connected(stack, dashboard, UNFINISHED["half a header"])
        assert dashboard.get("/healthz").status_code == 200
        assert dashboard.get("/api/runs").status_code == 200
        descriptors = Path(f"/proc/{dashboard.process.pid}/fd")
        assert len(list(descriptors.iterdir())) < 256
        assert len(dashboard.lines) == 1  # the address


@pytest.mark.parametrize("sent", UNFINISHED)
def test_a_request_that_does_not_end_is_closed(tmp_path, sent):
    with Dashboard(tmp_path) as dashboard, ExitStack() as stack:
        client = connected(stack, dashboard, UNFINISHED[sent])
        assert until(lambda: closed(client))
        assert dashboard.get("/healthz").status_code == 200


def test_an_idle_connection_is_closed_and_one_with_requests_stays(tmp_path):
    with Dashboard(tmp_path) as dashboard, ExitStack() as stack:
        ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        client = connected(stack, dashboard, ask)
        for _ in range(3):
            answer = b""
            while not answer.endswith(b"\r\n\r\nok"):
                answer += client.recv(65536)
            client.sendall(ask)
        assert until(lambda: closed(client))
