"""Real redis-server processes on free ports of this machine, to use, to break and to bring back."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import redis

from tests.forked import Forked
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.network import Host

ROOT = Path(__file__).parents[2]
T = TypeVar("T")

ENOUGH = 8 << 30
USER, PASSWORD = "sadp_dist", "correct-horse/battery@staple:"


class RedisServer:
    """One redis-server and its folder. Within `with` it runs, at the end it is gone.

    Args:
        folder: for its files; made if it is missing.
        aof: keep every write in a file, so that `kill` and `start` lose nothing acknowledged.
        conf: a file to start with, such as docker/redis.conf; the password's place in it is filled.
        tls: serve TLS alone, with a certificate for `host` of an own authority (`ca_file`).
        maxmemory: bytes after which writes are refused; 0 is no limit. None: as `conf` says, or enough.
        replica_of: another server, of which this one is a read-only copy.
        cluster: be a node of one, which `form_cluster` makes.
        host: the address it listens at.
        port: None takes a free one, on another host Redis's own.
        on: another host, where it runs and listens.
    """

    def __init__(
        self,
        folder: Path,
        *,
        aof: bool = False,
        conf: Path | None = None,
        tls: bool = False,
        maxmemory: int | None = None,
        replica_of: RedisServer | None = None,
        cluster: bool = False,
        host: str = "127.0.0.1",
        port: int | None = None,
        on: Host | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if on is not None:
            host, port = on.address, port or 6379
        self.folder, self.host, self.port = folder, host, port or free_port(host)
        self.restricted, self.tls = conf is not None, tls
        self.process: subprocess.Popen[bytes] | None = None
        self._command = ["redis-server"] if on is None else on.command("redis-server")
        if conf is not None:
            password_hash = hashlib.sha256(PASSWORD.encode()).hexdigest()
            (folder / "redis.conf").write_text(conf.read_text().replace("PASSWORD_SHA256", password_hash))
            self._command.append(str(folder / "redis.conf"))
        self._set(bind=host, dir=folder, **{"maxmemory-policy": "noeviction"})
        if maxmemory is not None or conf is None:
            self._set(maxmemory=ENOUGH if maxmemory is None else maxmemory)
        self._set(**{"protected-mode": "no"})  # else a host that is not the loopback refuses everybody
        self._set(**({"tls-port": self.port, "port": 0} if tls else {"port": self.port}))
        if conf is None:
            self._set(save="", appendonly="yes" if aof else "no")
        if tls:
            make_certificates(folder, host)
            for name, file in (("cert", "server.crt"), ("key", "server.key"), ("ca-cert", "ca.crt")):
                self._set(**{f"tls-{name}-file": folder / file})
            self._set(**{"tls-auth-clients": "no"})
        if cluster:
            self.bus_port = free_port(host)
            self._set(**{"cluster-enabled": "yes", "cluster-port": self.bus_port})
        if replica_of is not None:
            self._set(replicaof=f"{replica_of.host} {replica_of.port}")

    def _set(self, **settings: object) -> None:
        for name, value in settings.items():
            self._command += [f"--{name}", *(str(value).split() or [""])]

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def url(self) -> str:
        """What `connect` takes; a user and a password of `docker/redis.conf` are left to the environment."""
        return (
            f"rediss://{self.host}:{self.port}/0?ssl_ca_certs={self.ca_file}"
            if self.tls
            else f"redis://{self.host}:{self.port}/0"
        )

    def client(self, **options: object) -> redis.Redis:
        """A plain client, to look behind the store's back; of `docker/redis.conf` as its user."""
        if self.restricted:
            options = {"username": USER, "password": PASSWORD, **options}
        if self.tls:
            options = {"ssl": True, "ssl_ca_certs": str(self.ca_file), **options}
        return redis.Redis(self.host, self.port, socket_timeout=240, **options)  # type: ignore[arg-type]

    def start(self, timeout: float = 240) -> None:
        """Start it, with the files that are there, and wait until it answers."""
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + timeout
        while True:
            try:
                with self.client() as client:
                    client.info("server")
                return
            except redis.RedisError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log_text = (self.folder / "redis.log").read_text()
                    raise RuntimeError(f"redis-server did not start: {error}\n{log_text}") from error
                time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def restart_empty(self) -> None:
        """kill -9, lose the disk, start again."""
        self.kill()
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        (self.folder / "dump.rdb").unlink(missing_ok=True)
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: the port is open and nobody answers."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def pause(self, seconds: float) -> None:
        """CLIENT PAUSE: commands are taken and answered later."""
        with self.client() as client:
            client.client_pause(int(seconds * 1000))

    def configure(self, **settings: object) -> None:
        """CONFIG SET; underscores in names stand for dashes."""
        with self.client() as client:
            for name, value in settings.items():
                client.config_set(name.replace("_", "-"), str(value))

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()  # SIGKILL ends a stopped process, too
            self.process.wait()


class ServeProcess:
    """A `sadp-dist serve` in a process of its own. Within `with` it runs, at the end it is gone.

    Args:
        url: of the store.
        arguments: further ones.
        environment: what is set beside this process's.
    """

    def __init__(self, url: str, *arguments: str, **environment: str) -> None:
        self.lines: list[str] = []
        self.process = Forked(
            ["-m", "sadp_dist", "serve", "--store", url, *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(line.rstrip("\n") for line in self.process.stdout)

    def wait_for(self, text: str, timeout: float = 240) -> str:
        """The first line that contains a text, once it has been printed."""
        return until(
            lambda: next((line for line in self.lines if text in line), None),
            timeout,
            lambda: f"no line with {text!r} in {self.lines}",
        )

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(240)

    def __enter__(self) -> ServeProcess:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()


def until(
    found: Callable[[], T | None],
    timeout: float = 240,
    otherwise: Callable[[], str] = lambda: "it never came",
) -> T:
    """What a function returns once that is true."""
    deadline = time.monotonic() + timeout
    while True:
        result = found()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(otherwise())
        time.sleep(0.02)


def form_cluster(nodes: list[RedisServer]) -> None:
    """Make one Redis Cluster of some nodes, each with an equal part of the hash slots."""
    first, slots = nodes[0], 16384
    for number, node in enumerate(nodes):
        begin, end = (slots * n // len(nodes) for n in (number, number + 1))
        node.client().execute_command("CLUSTER ADDSLOTSRANGE", begin, end - 1)
        node.client().execute_command("CLUSTER MEET", first.host, first.port, first.bus_port)

    def whole() -> bool:
        states = [node.client().cluster("info") for node in nodes]
        return all(
            state["cluster_state"] == "ok" and state["cluster_known_nodes"] == str(len(nodes))
            for state in states
        )

    until(whole)


def make_certificates(folder: Path, host: str) -> None:
    """An authority, ca.crt, and a certificate of it for an IP address, server.crt with server.key."""
    for name, text in _certificates(host).items():
        (folder / name).write_text(text)


@cache
def _certificates(host: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "host").write_text(f"subjectAltName=IP:{host}\n")
        for command in (
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority"
            " -keyout ca.key -out ca.crt",
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=redis"
            " -keyout server.key -out server.csr",
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile host"
            " -out server.crt",
        ):
            subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
        return {file: (folder / file).read_text() for file in ("ca.crt", "server.crt", "server.key")}
