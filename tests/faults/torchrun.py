"""A job under torchrun that loses ranks and nodes and takes on new ones, and what it trained on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from sadp_dist import connect
from sadp_dist.store import attach
from tests.faults.elastic_rank import EPOCHS, PRUNING, N, scores_of
from tests.faults.job import PATIENCE
from tests.forked_commands import ForkedCommands
from tests.ports import free_port

PROGRAM = Path(__file__).with_name("elastic_rank.py")
# torchrun waits half a minute for more nodes by default, and a quarter of one until it misses a node. An
# agent that is late with all these keep-alives, on a busy machine, drops itself for good.
RENDEZVOUS = "last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=10"
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    # As docs/reliability.md says: else ranks that are started again find each other's old addresses.
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


class Attempt(NamedTuple):
    """One start of the group.

    Attributes:
        world_size: its ranks.
        start: (epoch, batch) that it went on from.
        batches: (epoch, batch, examples) of all its ranks.
    """

    world_size: int
    start: tuple[int, int]
    batches: list[tuple[int, int, list[int]]]


class ElasticJob:
    """torchrun's agents, one a node, and what their ranks have written; they are gone after `with`.

    Args:
        url: of the store.
        folder: for what the ranks write; made here.
        nodes: as torchrun's --nnodes.
        ranks: a node.
    """

    def __init__(self, url: str, folder: Path, nodes: str = "1:3", ranks: int = 1) -> None:
        folder.mkdir()
        self._url = url
        self._port = free_port()
        self.folder = folder
        self._agents: list[subprocess.Popen[bytes]] = []
        self._forks = ForkedCommands()
        self._command = [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes", nodes),
            *("--nproc-per-node", str(ranks)),
            # Ranks may fail again and again until the rendezvous gives up a dead node.
            *("--max-restarts", "20", "--rdzv-backend", "c10d"),
            *("--rdzv-endpoint", f"localhost:{self._port}"),
            *("--rdzv-conf", RENDEZVOUS, "--local-addr", "localhost", str(PROGRAM), url, str(folder)),
        ]

    def join(self) -> None:
        """Another node. The first is the rendezvous of all, which torchrun cannot do without."""
        with (self.folder / f"agent-{len(self._agents)}.log").open("w") as log:
            environment = {**ENVIRONMENT, **self._forks.found}
            self._agents.append(subprocess.Popen(self._command, env=environment, stdout=log, stderr=log))
        self.wait(self._rendezvous_is_up)

    def _rendezvous_is_up(self) -> bool:
        with socket.socket() as line:
            return line.connect_ex(("localhost", self._port)) == 0

    def kill_node(self) -> None:
        """The node that joined last is gone at once: kill -9 of its agent and its rank."""
        agent = psutil.Process(self._agents.pop().pid)
        node = [*agent.children(recursive=True), agent]
        for process in node:
            process.kill()
        psutil.wait_procs(node)

    def kill_rank(self, rank: int) -> None:
        """kill -9."""
        (process,) = (
            process
            for agent in self._agents
            for process in psutil.Process(agent.pid).children(recursive=True)
            if process.environ().get("RANK") == str(rank)
        )
        process.kill()

    def waits_for(self, rank: int) -> None:
        """Wait until the store knows that all ranks but one have asked for a shard."""
        with attach(self._url, "elastic", timeout=PATIENCE) as store:
            self.wait(lambda: store.stats().waiting_ranks == [rank])

    def hold(self, epoch: int, ranks: Iterable[int]) -> None:
        """Have ranks wait before they ask for an epoch."""
        for rank in ranks:
            (self.folder / f"hold-{rank}").write_text(str(epoch))

    def release(self) -> None:
        for hold in self.folder.glob("hold-*"):
            hold.unlink()

    def end(self) -> None:
        """Wait until the job is done."""
        for agent in self._agents:
            assert agent.wait(PATIENCE) == 0, self._logs()

    def __enter__(self) -> ElasticJob:
        self._forks.__enter__()
        self.join()
        return self

    def __exit__(self, *_: object) -> None:
        while self._agents:
            if self._agents[-1].poll() is None:
                self.kill_node()
            else:
                self._agents.pop()
        self._forks.__exit__()

    def attempts(self) -> list[Attempt]:
        """The starts of the group, in their order."""
        found = []
        for number in range(len(list(self.folder.glob("attempt-*")))):
            files = [_records(path) for path in (self.folder / f"attempt-{number}").iterdir()]
            started = [lines for lines in files if lines]
            if started:
                ((world_size, *start),) = {tuple(first) for first, *_ in started}
                batches = [(*where, examples) for _, *rest in started for *where, examples in rest]
                found.append(Attempt(world_size, tuple(start), batches))
        return found

    def trains(self, world_size: int, epoch: int) -> Callable[[], bool]:
        """Whether the group of now has so many ranks and is some batches into an epoch."""

        def come() -> bool:
            attempts = self.attempts()
            if not attempts or attempts[-1].world_size != world_size:
                return False
            return sum(of == epoch for of, _, _ in attempts[-1].batches) >= 10 * world_size

        return come

    def wait(self, come: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not come():
            assert time.monotonic() < deadline, self._logs()
            assert any(agent.poll() is None for agent in self._agents), self._logs()
            time.sleep(0.2)  # to read all that the ranks have written takes a while

    def trained(self, epoch: int) -> list[int]:
        """The examples that were trained on in an epoch, as often as they were, over all ranks and attempts.

        What an attempt did after the checkpoint from which the next one went on is not part of the run.
        """
        attempts = self.attempts()
        ends = [attempt.start for attempt in attempts[1:]] + [(EPOCHS, 0)]
        return [
            example
            for attempt, end in zip(attempts, ends, strict=True)
            for of, batch, examples in attempt.batches
            if of == epoch and (of, batch) < end
            for example in examples
        ]

    def check_same_as_undisturbed(self) -> None:
        """Every example drawn was trained on exactly once an epoch, and the store ended with its scores."""
        with connect("memory:", "elastic", N, PRUNING) as store:
            for epoch in range(EPOCHS):
                drawn = store.plan(epoch, rank=0, world_size=1).indices
                assert sorted(self.trained(epoch)) == sorted(drawn.tolist())
                store.push(drawn, scores_of(epoch)[drawn], epoch=epoch)
            with np.load(self.folder / "scores.npz") as got:
                np.testing.assert_array_equal(got["scores"], store.scores(np.arange(N)))

    def _logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


def _records(path: Path) -> list[list]:
    """Whole lines; a kill can leave half of one."""
    *lines, _ = path.read_text().split("\n")
    return [json.loads(line) for line in lines]
