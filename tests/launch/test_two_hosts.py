"""`launch/torchrun.sh` on two hosts, whose scores are in a Redis on a third with its planner: whole runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sadp_dist.training import read_metrics
from tests.forked import run_forked
from tests.forked_commands import ForkedCommands
from tests.launch.conftest import EPOCHS, ROOT, SUBSETS
from tests.network import Host, Network
from tests.store.redis_server import PASSWORD, USER, RedisServer
from tests.torchrun_log import without_exit_barrier

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "launch" / "torchrun.sh"
LOGIN = {"SADP_DIST_REDIS_USERNAME": USER, "SADP_DIST_REDIS_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network("node0", "node1", "scores") as network:
        yield network


@pytest.fixture(scope="module")
def environment(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """A user's shell whose python, sadp-dist and torchrun are forks on the host that they are started on."""
    with ForkedCommands() as commands:
        yield environment | commands.found


@pytest.fixture(scope="module")
def redis(
    network: Network, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """Redis as docker/redis.conf has it, a planner beside it, and where torchrun's nodes can meet."""
    *_, scores = network.hosts
    folder = tmp_path_factory.mktemp("redis")
    with RedisServer(folder, conf=ROOT / "docker" / "redis.conf", on=scores) as redis:
        beside = [
            start(scores, folder / f"{name}.log", ["sadp-dist", name, *arguments], environment | LOGIN)
            for name, arguments in (("serve", ["--store", redis.url]), ("rendezvous", ["--port", "29400"]))
        ]
        yield redis
        for process in beside:
            process.terminate()
            assert process.wait(240) == 0
        assert f"planning for {redis.url}" in (folder / "serve.log").read_text()


def start(
    host: Host, log: Path, command: list[object], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            host.command(*command), env=environment, stdout=output, stderr=subprocess.STDOUT
        )


@pytest.mark.parametrize(
    "variables",
    [
        # Each node's own name is 127.0.1.1 to itself, as Debian has it.
        {"NNODES": "2", "NODE_RANK": "{rank}", "MASTER_ADDR": "node0"},
        # The first node waits for a second that comes late; once both are there, nobody waits any longer.
        {"NNODES": "1:2", "MASTER_ADDR": "scores", "RDZV_CONF": "last_call_timeout=240"},
    ],
    ids=["static", "elastic"],
)
def test_a_run_goes_to_its_end_on_both_nodes(variables, network, redis, recipe, environment, tmp_path):
    name = f"{variables['NNODES']} nodes at {variables['MASTER_ADDR']}"
    logs = [tmp_path / "node0.log", tmp_path / "node1.log"]
    nodes = [
        start(
            host,
            log,
            [SCRIPT, recipe, "store.url=redis://scores", f"name={name}"],
            environment | LOGIN | {key: value.format(rank=rank) for key, value in variables.items()},
        )
        for rank, (host, log) in enumerate(zip(network.hosts, logs, strict=False))
    ]
    try:
        statuses = [node.wait(240) for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    said = [log.read_text() for log in logs]
    assert statuses == [0, 0], "\n".join(said)
    check_what_the_nodes_said(said)

    # From the outside: all that a run of two ranks has to show.
    stats = ask(redis, environment, "stats", "--store", redis.url, "--run", name, "--json")
    assert stats["planner"].startswith("sadp-dist serve at scores:")
    assert (stats["epoch"], stats["subset_size"]) == (EPOCHS - 1, SUBSETS[-1])
    assert stats["pushed_scores"] == sum(SUBSETS)
    assert stats["rejected_pushes"] == 0 and not stats["bad_frames"]
    epochs = [record for record in read_metrics(tmp_path / "runs" / name) if record["event"] == "epoch"]
    assert [record["examples"] for record in epochs] == SUBSETS
    end = read_metrics(tmp_path / "runs" / name)[-1]
    assert (end["event"], end["world_size"]) == ("end", 2)


def check_what_the_nodes_said(said: list[str]) -> None:
    """A command, that it can start, that it waits; the first rank's epochs and what they saved; no more."""
    epochs = []
    for text in said:
        command, can_start, waits, *rest = without_exit_barrier(text).splitlines()
        assert command.startswith("$ env ") and " torchrun " in command
        assert "GLOO_SOCKET_IFNAME=eth0" in command
        assert can_start.endswith("can start")
        assert waits.startswith("waiting for the nodes")
        epochs += [line for line in rest if line]
    *epochs, left_out, saved = epochs
    assert [line.split("  ")[0] for line in epochs] == ["epoch", "epoch"], said
    assert left_out.startswith("left out ") and saved.startswith("time saved: "), said


def ask(redis: RedisServer, environment: dict[str, str], *arguments: str) -> dict[str, object]:
    done = run_forked(["-m", "sadp_dist", *arguments], env=environment | LOGIN)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
