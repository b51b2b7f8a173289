"""Start real servers on this machine: Redis with its planner, a Ray cluster."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sadp_dist.errors import UsageError


class Redis(NamedTuple):
    """A running redis-server.

    Attributes:
        url: the URL for `connect`.
        planner: process id of its `sadp-dist serve`.
    """

    url: str
    planner: int


@contextmanager
def redis_server() -> Iterator[Redis]:
    """Run a redis-server without persistence, and a planner.

    Raises:
        UsageError: redis-server is not installed.
    """
    if shutil.which("redis-server") is None:
        raise UsageError("redis-server is not on this machine's PATH: apt-get install redis-server")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"redis://127.0.0.1:{port}/0"
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", folder]
        command += ["--maxmemory", "8gb"]  # else each run warns that there is no limit
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.05)
        planner = subprocess.Popen(
            [sys.executable, "-m", "sadp_dist", "serve", "--store", url], stdout=subprocess.DEVNULL
        )
        try:
            yield Redis(url, planner.pid)
        finally:
            for process in (planner, server):
                process.terminate()
                process.wait()


@contextmanager
def ray_cluster() -> Iterator[str]:
    """Run a cluster of one node, which is "ray:auto" in this process and its children."""
    import ray

    node = ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    os.environ["RAY_ADDRESS"] = node.address_info["address"]
    try:
        yield "ray:auto"
    finally:
        del os.environ["RAY_ADDRESS"]
        ray.shutdown()
