"""A real Ray cluster on this machine: a process for every part of every node, to connect to and to kill."""

import os
import signal
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from sadp_dist.store.backends.ray.cluster import RUNS
from tests.ports import free_port

# As docs/stores.md advises: the head's process for a client sometimes dies in gRPC's handlers of fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
MEMORY = 300 << 20
FAST_DETECTION = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
PATIENCE = 240
"""Seconds that a node or a worker may take to start: the machine may have other things to do."""


class PatientCluster(Cluster):
    """Ray's own, which would wait for a node for half a minute."""

    def _wait_for_node(self, node, timeout=PATIENCE):
        super()._wait_for_node(node, timeout)


class RayCluster:
    """A head node, to which the drivers of this machine attach, and others that may die.

    Within `with`, "ray:auto" is this cluster, in this process and in those that it starts.

    Args:
        nodes: beside the head.
        client_port: also listen there for "ray://".
        dashboard_port: also take jobs there, from `ray job submit`.
        cpus: of the head.
    """

    def __init__(
        self,
        nodes: int = 0,
        client_port: int | None = None,
        dashboard_port: int | None = None,
        cpus: int = 1,
    ) -> None:
        config = {**FAST_DETECTION, "worker_register_timeout_seconds": PATIENCE}
        port = {} if client_port is None else {"ray_client_server_port": client_port}
        head = {"object_store_memory": MEMORY, "_system_config": config, "num_cpus": cpus, **port}
        head["include_dashboard"] = dashboard_port is not None
        # Ray's own port may be another cluster's; the agent would do without, and start no jobs.
        head["dashboard_agent_listen_port"] = free_port()
        if dashboard_port is not None:
            head["dashboard_port"] = dashboard_port
        self._environment = pytest.MonkeyPatch()
        # The nodes inherit it. Ray's folder names the cluster that was started last on this machine, and some
        # processes take that for their own: a job would start its workers in another cluster, and Ray Train
        # would think its own controller dead. The logs stay there; a socket's path has to be short.
        folders = Path(tempfile.gettempdir()) / "ray-tests"
        folders.mkdir(exist_ok=True)
        self._environment.setenv("RAY_TMPDIR", tempfile.mkdtemp(dir=folders))
        self._cluster = PatientCluster(initialize_head=True, head_node_args=head)
        self.address = self._cluster.address
        self.nodes = [self.add_node() for _ in range(nodes)]

    def __enter__(self):
        ray.shutdown()
        self._environment.setenv("RAY_ADDRESS", self.address)
        return self

    def __exit__(self, *exc_info) -> None:
        self._environment.undo()
        ray.shutdown()
        self._cluster.shutdown()

    def add_node(self):
        """One more node."""
        return self._cluster.add_node(object_store_memory=MEMORY)

    def kill_actor(self, name: str) -> None:
        """ray.kill, after which Ray starts it anew."""
        ray.kill(ray.get_actor(name, RUNS), no_restart=False)

    def kill_process(self, name: str) -> None:
        """kill -9 of the process that an actor lives in, after which Ray starts it anew."""
        os.kill(self._row(name)["Pid"], signal.SIGKILL)

    def node_of(self, name: str):
        """The node that an actor lives on."""
        node_id = self._row(name)["Address"]["NodeID"]
        return next(node for node in self._cluster.list_all_nodes() if node.node_id == node_id)

    def _row(self, name: str) -> dict:
        """What the cluster knows of an actor, once it is alive."""
        deadline = time.monotonic() + PATIENCE
        while True:
            rows = [row for row in ray._private.state.actors().values() if row["Name"] == name]
            latest = max(rows, key=lambda row: row["StartTime"])
            if latest["State"] == "ALIVE":
                return latest
            assert time.monotonic() < deadline, latest
            time.sleep(0.05)

    def is_head(self, node) -> bool:
        return node is self._cluster.head_node

    def kill_node(self, node) -> None:
        """kill -9 of everything that runs on a node which is not the head, as when its power is cut."""
        assert not self.is_head(node)
        for raylet in node.all_processes["raylet"]:
            for process in (raylet.process, *psutil.Process(raylet.process.pid).children(recursive=True)):
                os.kill(process.pid, signal.SIGKILL)
            raylet.process.wait()
