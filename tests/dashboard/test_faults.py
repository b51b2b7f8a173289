"""The dashboard when the store is slow, silent, gone or back, and how it ends."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sadp_dist import PruningConfig, connect
from sadp_dist.store import remove_run
from tests.cli.test_commands import refused, sadp_dist_command
from tests.dashboard.process import Dashboard
from tests.ports import free_port
from tests.store.redis_server import RedisServer, until

pytestmark = pytest.mark.slow


def test_a_store_may_come_later_go_and_come_back(tmp_path):
    server = RedisServer(tmp_path, aof=True)
    with Dashboard(server.url) as dashboard:
        assert any(
            "sadp-dist: warning: " in line and "the page shows the runs when the store" in line
            for line in dashboard.lines
        )
        assert dashboard.get("/api/runs").status_code == 503
        with server:
            connect(server.url, "digits", 5, PruningConfig(epochs=2)).close()
            until(lambda: dashboard.of("digits", "stats").status_code == 200)
            server.kill()
            until(lambda: "cannot be reached" in dashboard.get("/api/runs").text)
            for path in ("/api/runs", "/api/runs/digits/stats", "/api/runs/digits/top"):
                answer = dashboard.get(path)
                assert answer.status_code == 503
                assert set(answer.json()) == {"detail"} and "\n" not in answer.json()["detail"]
            health = dashboard.get("/api/health").json()
            assert health["reachable"] is False and "cannot be reached" in health["problem"]
            assert "sadp_dist_up 0.0" in dashboard.get("/metrics").text
            assert dashboard.get("/").status_code == dashboard.get("/healthz").status_code == 200
            server.start()
            until(lambda: dashboard.of("digits", "stats").status_code == 200)
            assert dashboard.get("/api/health").json()["reachable"] is True
        assert len(dashboard.lines) == 2, "\n".join(dashboard.lines)  # the warning, and the address


def test_a_store_that_hangs_holds_up_neither_the_page_nor_the_end(tmp_path):
    with RedisServer(tmp_path) as server, ThreadPoolExecutor(50) as browsers:
        connect(server.url, "digits", 5, PruningConfig(epochs=2)).close()
        with Dashboard(server.url) as dashboard:
            until(lambda: dashboard.of("digits", "stats").status_code == 200)
            server.freeze()
            asked = [browsers.submit(dashboard.of, "digits", "top", k=k) for k in range(1, 51)]
            assert dashboard.get("/").status_code == dashboard.get("/healthz").status_code == 200
            assert {each.result().status_code for each in asked} == {503}
            server.thaw()
            until(lambda: dashboard.of("digits", "stats").status_code == 200)
            server.freeze()
            waiting = browsers.submit(dashboard.of, "digits", "top", k=60)
            time.sleep(0.5)
            assert not waiting.done()
            assert dashboard.stop() == 0
            assert len(dashboard.lines) == 1
            server.thaw()


def test_a_run_that_is_removed_disappears_and_one_that_begins_appears(tmp_path):
    with RedisServer(tmp_path) as server, Dashboard(server.url) as dashboard:
        assert dashboard.get("/api/runs").json() == []
        connect(server.url, "digits", 5, PruningConfig(epochs=2)).close()
        until(lambda: dashboard.of("digits", "stats").status_code == 200)
        remove_run(server.url, "digits")
        until(lambda: dashboard.of("digits", "stats").status_code == 404)
        until(lambda: dashboard.get("/api/runs").json() == [])
        assert 'run="digits"' not in dashboard.get("/metrics").text
        connect(server.url, "digits", 7, PruningConfig(epochs=2)).close()
        until(lambda: dashboard.of("digits", "stats").status_code == 200)
        assert dashboard.of("digits", "stats").json()["dataset_size"] == 7


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_and_nothing_more_said(tmp_path, number):
    with Dashboard(tmp_path) as dashboard:
        assert dashboard.get("/healthz").text == "ok"
        assert dashboard.stop(number) == 0
        assert dashboard.lines == [f"dashboard of {tmp_path}: {dashboard.address}"]


def test_a_port_that_is_taken_is_one_line(tmp_path):
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        line = refused(sadp_dist_command("dashboard", "--store", tmp_path, "--port", port))
    assert f"cannot listen on --host 127.0.0.1 --port {port} (Address already in use)" in line
