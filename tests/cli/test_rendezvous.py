"""`sadp-dist rendezvous`: torchrun's agents meet there, and no job depends on one of its nodes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from sadp_dist.cli.rendezvous import _forget_ended_jobs, _open_store
from tests.cli.test_commands import refused, sadp_dist_command
from tests.ports import free_port
from tests.store.redis_server import until

RANK = """
import os, sys, time
from pathlib import Path
import torch
import torch.distributed as dist

folder = Path(sys.argv[1])
dist.init_process_group("gloo")
while not (folder / "end").exists():
    total = torch.ones(1)
    dist.all_reduce(total)
    (folder / f"world-size-{os.environ['NODE']}").write_text(str(int(total)))
    time.sleep(0.05)
dist.destroy_process_group()
"""


@pytest.fixture
def rendezvous() -> Iterator[int]:
    """The port of a rendezvous that is ready."""
    port = free_port()
    command = [sys.executable, "-m", "sadp_dist", "rendezvous", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(f"rendezvous at 127.0.0.1:{port}")
        yield port
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""
        assert process.wait(240) == 0


class Node:
    """A torchrun agent with one rank. It is gone after `with`."""

    def __init__(self, folder: Path, name: str, port: int, nodes: str = "1:2") -> None:
        (folder / "rank.py").write_text(RANK)
        self._world_size = folder / f"world-size-{name}"
        self._log = folder / f"{name}.log"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes", nodes, "--max-restarts", "3"),
                *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "job"),
                "--rdzv-conf",
                "is_host=false,last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=3",
                *("--local-addr", "127.0.0.1", folder / "rank.py", folder),
            ],
            env={
                **os.environ,
                "NODE": name,
                "OMP_NUM_THREADS": "1",
                "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
            },
            stdout=self._log.open("w"),
            stderr=subprocess.STDOUT,
        )

    def trains_with(self, world_size: int) -> bool:
        """Whether its rank has just been at work in a group of so many."""
        assert self.process.poll() is None, self._log.read_text()
        found = self._world_size.exists() and self._world_size.read_text() == str(world_size)
        self._world_size.unlink(missing_ok=True)
        return found

    def end(self) -> None:
        assert self.process.wait(240) == 0, self._log.read_text()

    def kill(self) -> None:
        """kill -9 of the agent and its rank."""
        if self.process.poll() is None:
            agent = psutil.Process(self.process.pid)
            for process in [*agent.children(recursive=True), agent]:
                process.kill()
            self.process.wait()

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@pytest.mark.slow
def test_the_first_node_dies_and_the_job_goes_on_and_takes_it_back(rendezvous, tmp_path):
    with ExitStack() as stack:
        first = stack.enter_context(Node(tmp_path, "first", rendezvous))
        until(lambda: first.trains_with(1))
        second = stack.enter_context(Node(tmp_path, "second", rendezvous))
        until(lambda: second.trains_with(2))
        first.kill()
        until(lambda: second.trains_with(1))
        again = stack.enter_context(Node(tmp_path, "first", rendezvous))
        until(lambda: second.trains_with(2) and again.trains_with(2))
        (tmp_path / "end").touch()
        second.end()
        again.end()


@pytest.mark.slow
def test_a_job_that_has_ended_may_start_again_under_its_name(tmp_path):
    port = free_port()
    store = _open_store("127.0.0.1", port)
    (tmp_path / "end").touch()
    seen: dict[str, bytes] = {}
    for _ in range(2):
        with Node(tmp_path, "node", port, nodes="1") as node:
            node.end()
        seen = _forget_ended_jobs(store, seen)
        assert list(seen) == ["torch.rendezvous.job"]
        seen = _forget_ended_jobs(store, seen)
        assert not [key for key in store.list_keys() if "torch.rendezvous" in key]


def test_a_job_that_goes_on_is_not_forgotten_when_one_of_a_similar_name_has_ended():
    store = _open_store("127.0.0.1", free_port())
    for key in ("job", "job.0/x", "job.1", "job.1.0/x"):
        store.set(f"torch.rendezvous.{key}", "as before")
    seen = _forget_ended_jobs(store, {})
    store.set("torch.rendezvous.job.1", "renewed")
    assert _forget_ended_jobs(store, seen) == {"torch.rendezvous.job.1": b"renewed"}
    assert {key for key in store.list_keys() if "job" in key} == {
        "torch.rendezvous.job.1",
        "torch.rendezvous.job.1.0/x",
    }


def test_it_listens_at_the_address_it_is_given_and_at_no_other(rendezvous):
    (connection,) = (
        connection
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == rendezvous
    )
    assert connection.laddr.ip == "127.0.0.1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--host", "192.0.2.1"],
            "--host='192.0.2.1' is not an address of this machine; give one, or 0.0.0.0",
        ),
        (["--host", "nowhere.invalid"], "--host='nowhere.invalid' is not an address of this machine"),
        (["--port", "0"], "Invalid value for '--port'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, said):
    assert said in refused(sadp_dist_command("rendezvous", *arguments))


def test_a_port_that_is_taken_is_said_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(sadp_dist_command("rendezvous", "--host", "127.0.0.1", "--port", port))
    assert f"--port={port} is in use on this machine; choose another port" in line
