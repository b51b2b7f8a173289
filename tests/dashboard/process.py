"""A dashboard in a process of its own, and runs for it to show."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np

from sadp_dist import PruningConfig, connect
from sadp_dist.store import Store
from tests.forked import Forked
from tests.store.redis_server import until

ROOT = Path(__file__).parents[2]
TOKEN = "correct-horse-battery-staple"


class Dashboard:
    """A `sadp-dist dashboard` on a free port of the loopback. Within `with` it runs, at the end it is gone.

    Args:
        store: URL or folder.
        arguments: further ones.
        environment: what is set beside this process's.

    Attributes:
        address: such as http://127.0.0.1:12345.
        client: asks it, with the token if there is one.
        lines: all that it has printed.
    """

    def __init__(self, store: str | Path, *arguments: str | Path, **environment: str) -> None:
        self.lines: list[str] = []
        self._clients = 0
        self.process = Forked(
            ["-m", "sadp_dist", "dashboard", "--store", store, "--port", "0", *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.address = ""
        self.token = environment.get("SADP_DIST_DASHBOARD_TOKEN")

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(line.rstrip("\n") for line in self.process.stdout)

    def get(self, path: str, **options: object) -> httpx.Response:
        """An answer of it. The path is sent as it is."""
        return self.client.get(path, **options)  # type: ignore[arg-type]

    def of(self, run: str, what: str, **query: object) -> httpx.Response:
        """What the API says of a run."""
        return self.get(f"/api/runs/{quote(run, safe='')}/{what}", params=query)

    def anonymous(self, **headers: str) -> httpx.Client:
        """A client without the token, which calls from an address of its own."""
        self._clients += 1
        transport = httpx.HTTPTransport(
            local_address=f"127.0.{1 + self._clients // 250}.{self._clients % 250}"
        )
        return httpx.Client(base_url=self.address, timeout=240, headers=headers, transport=transport)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(240)

    def __enter__(self) -> Dashboard:
        def address() -> str | None:
            assert self.process.poll() is None, self.lines
            return next((line.rpartition(" ")[2] for line in self.lines if "http://" in line), None)

        self.address = until(address)
        login = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        self.client = self.anonymous(**login)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()


def train(url: str, run: str, labels: np.ndarray, epochs: int = 3) -> Store:
    """A run of one rank that has trained some epochs; its store, to go on with or to close."""
    pruning = PruningConfig(ratio=0.5, epochs=50, min_probability=0.2)
    store = connect(url, run, len(labels), pruning, labels)
    for epoch in range(epochs):
        train_epoch(store, len(labels), epoch)
    return store


def train_epoch(store: Store, dataset_size: int, epoch: int) -> None:
    """An epoch whose scores depend on its number alone."""
    shard = store.plan(epoch, 0, 1)
    scores = np.random.default_rng(epoch).lognormal(size=dataset_size).astype(np.float32)[shard.indices]
    store.push(shard.indices, scores, epoch=epoch)
    store.record(epoch, {"loss": 2.0 / (epoch + 1), "test_accuracy": 1 - 0.5 ** (epoch + 1)})
    store.flush()
