"""`sadp-dist rendezvous`: torchrun's agents meet there, and no job depends on one of its nodes."""

from __future__ import annotations

import pickle
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import _RendezvousState

from sadp_dist.cli.rendezvous import _forget_ended_jobs, _open_store
from tests.cli.test_commands import refused, sadp_dist_command
from tests.forked import Forked
from tests.forked_commands import ForkedCommands
from tests.ports import free_port
from tests.store.redis_server import until

LATE = 10
"""Keep-alives, one a second, without which an agent is dropped."""
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


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkedCommands]:
    with ForkedCommands() as forks:
        yield forks


@pytest.fixture
def rendezvous() -> Iterator[int]:
    """The port of a rendezvous that is ready."""
    port = free_port()
    command = ["-m", "sadp_dist", "rendezvous", "--host", "127.0.0.1", "--port", str(port)]
    with Forked(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(f"rendezvous at 127.0.0.1:{port}")
        yield port
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ""
        assert process.wait(240) == 0


class Node:
    """A torchrun agent with one rank. It is gone after `with`."""

    def __init__(self, folder: Path, name: str, port: int, forks: ForkedCommands, nodes: str = "1:2") -> None:
        (folder / "rank.py").write_text(RANK)
        self._world_size = folder / f"world-size-{name}"
        self._log = folder / f"{name}.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(
                        sys.executable,
                        "-m",
                        "torch.distributed.run",
                        "--nnodes",
                        nodes,
                        "--max-restarts",
                        "3",
                    ),
                    *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "job"),
                    "--rdzv-conf",
                    f"is_host=false,last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt={LATE}",
                    *("--local-addr", "127.0.0.1", folder / "rank.py", folder),
                ],
                env={
                    **forks.environment,
                    "NODE": name,
                    "OMP_NUM_THREADS": "1",
                    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
                },
                stdout=log,
                stderr=log,
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
def test_the_first_node_dies_and_the_job_goes_on_and_takes_it_back(rendezvous, forks, tmp_path):
    with ExitStack() as stack:
        first = stack.enter_context(Node(tmp_path, "first", rendezvous, forks))
        until(lambda: first.trains_with(1))
        second = stack.enter_context(Node(tmp_path, "second", rendezvous, forks))
        until(lambda: second.trains_with(2))
        first.kill()
        until(lambda: second.trains_with(1))
        again = stack.enter_context(Node(tmp_path, "first", rendezvous, forks))
        until(lambda: second.trains_with(2) and again.trains_with(2))
        (tmp_path / "end").touch()
        second.end()
        again.end()


@pytest.mark.slow
def test_a_job_that_has_ended_may_start_again_under_its_name(forks, tmp_path):
    port = free_port()
    store = _open_store("127.0.0.1", port)
    (tmp_path / "end").touch()
    seen: dict[str, bytes] = {}
    for _ in range(2):
        with Node(tmp_path, "node", port, forks, nodes="1") as node:
            node.end()
        seen = _forget_ended_jobs(store, seen)
        assert list(seen) == ["torch.rendezvous.job"]
        seen = _forget_ended_jobs(store, seen)
        assert not [key for key in store.list_keys() if "torch.rendezvous" in key]


def state(closed: bool) -> str:
    """What torchrun keeps of a job."""
    of_the_job = _RendezvousState()
    of_the_job.closed = closed
    return b64encode(pickle.dumps(of_the_job)).decode()


def test_of_jobs_of_similar_names_the_one_that_has_ended_is_forgotten():
    store = _open_store("127.0.0.1", free_port())
    for key in ("job", "job.1"):
        store.set(f"torch.rendezvous.{key}", state(closed=True))
    for key in ("job.0/x", "job.1.0/x"):
        store.set(f"torch.rendezvous.{key}", "as before")
    seen = _forget_ended_jobs(store, {})
    store.set("torch.rendezvous.job.1", state(closed=False))
    assert list(_forget_ended_jobs(store, seen)) == ["torch.rendezvous.job.1"]
    assert {key for key in store.list_keys() if "job" in key} == {
        "torch.rendezvous.job.1",
        "torch.rendezvous.job.1.0/x",
    }


@pytest.mark.parametrize("kept", [state(closed=False), "closed", "no base64!"])
def test_what_is_not_known_to_have_ended_is_kept(kept):
    store = _open_store("127.0.0.1", free_port())
    store.set("torch.rendezvous.job", kept)
    seen: dict[str, bytes] = {}
    for _ in range(3):
        seen = _forget_ended_jobs(store, seen)
    assert store.get("torch.rendezvous.job") == kept.encode()


@pytest.mark.slow
def test_a_job_whose_agent_was_held_goes_on_although_it_no_longer_renews_its_key(forks, tmp_path):
    port = free_port()
    store = _open_store("127.0.0.1", port)

    def key() -> bytes:
        return store.get("torch.rendezvous.job")

    with Node(tmp_path, "node", port, forks) as node:
        until(lambda: node.trains_with(1))
        node.process.send_signal(signal.SIGSTOP)
        time.sleep(LATE + 2)
        node.process.send_signal(signal.SIGCONT)
        until(lambda: _is_unchanged_for(2.5, key))
        seen = _forget_ended_jobs(store, {})
        assert _forget_ended_jobs(store, seen) == seen == {"torch.rendezvous.job": key()}
        until(lambda: node.trains_with(1))
        (tmp_path / "end").touch()
        node.end()


def _is_unchanged_for(seconds: float, value: Callable[[], bytes]) -> bool:
    before = value()
    time.sleep(seconds)
    return value() == before


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
