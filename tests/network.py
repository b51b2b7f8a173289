"""Hosts of their own on this machine: network namespaces, each with a name, an address, a cable to pull."""

from __future__ import annotations

import ctypes
import ipaddress
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

BENCHMARKS = ipaddress.ip_address("198.18.0.0")  # a /15 that nobody else uses (RFC 2544)
HOSTS = 13  # of a network, which is a /28
_NUMBERS = itertools.count(61 * os.getpid() % 8000)  # processes that began together are far apart


class Host:
    """A network namespace at a switch.

    Attributes:
        name: its host name, by which the others of its network know it.
        address: the one that leads to it.
        namespace: for `enter`.
    """

    def __init__(self, name: str, address: str, namespace: str) -> None:
        self.name, self.address, self.namespace = name, address, namespace

    def command(self, *arguments: object) -> list[str]:
        """What runs a program there, under its host name; it is the program that signals reach."""
        named = f'hostname {self.name}; exec "$@"'
        return [
            *("ip", "netns", "exec", self.namespace, "unshare", "--uts", "sh", "-c", named, "sh"),
            *map(str, arguments),
        ]

    @contextmanager
    def unplugged(self, seconds: float | None) -> Iterator[None]:
        """What is sent meanwhile gets lost, and nobody is told; None: it stays so."""
        _ip("link", "set", self.namespace, "down")
        yield
        if seconds is not None:
            time.sleep(seconds)
            _ip("link", "set", self.namespace, "up")


class Network:
    """Hosts and this machine at one switch; within `with` they are there.

    A host knows the others by name. To itself, its name is 127.0.1.1, as Debian's installer has it.

    Args:
        names: of the hosts.

    Attributes:
        here: the address of this machine.
        hosts: as named.
    """

    def __init__(self, *names: str) -> None:
        assert len(names) <= HOSTS
        number = next(_NUMBERS)
        self._switch = f"sadp{number}"
        net = BENCHMARKS + 16 * number
        self.here = str(net + 1)
        self.hosts = [Host(name, str(net + 2 + n), f"{self._switch}-{n}") for n, name in enumerate(names)]

    def __enter__(self) -> Network:
        try:
            _ip("link", "add", self._switch, "type", "bridge")
            _ip("address", "add", f"{self.here}/28", "dev", self._switch)
            _ip("link", "set", self._switch, "addrgenmode", "none", "up")
            for host in self.hosts:
                self._connect(host)
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            pytest.skip(f"no network namespaces on this machine: {getattr(error, 'stderr', error)}")
        return self

    def _connect(self, host: Host) -> None:
        known = ["127.0.0.1 localhost", f"127.0.1.1 {host.name}", f"{self.here} outside"]
        known += [f"{other.address} {other.name}" for other in self.hosts if other is not host]
        known += [f"{host.address} {host.name}.cluster"]
        files = _files_of(host)
        files.mkdir(parents=True)
        (files / "hosts").write_text("\n".join(known) + "\n")
        (files / "nsswitch.conf").write_text("hosts: files\n")  # no name server is in reach
        inside = ("-n", host.namespace)
        _ip("netns", "add", host.namespace)
        _ip("link", "add", host.namespace, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
        # No address of IPv6: browsers of other tests drop their requests when this machine gets a new one.
        _ip("link", "set", host.namespace, "addrgenmode", "none")
        _ip("link", "set", host.namespace, "master", self._switch, "up")
        _ip(*inside, "address", "add", f"{host.address}/28", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")
        # As where a router lies between: a cut is silence, and not the news that a neighbour is gone.
        for solicitation in ("mcast_solicit", "ucast_solicit"):
            setting = f"echo 1000 >/proc/sys/net/ipv4/neigh/eth0/{solicitation}"
            _ip("netns", "exec", host.namespace, "sh", "-c", setting)

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            left = subprocess.run(["ip", "netns", "pids", host.namespace], capture_output=True, text=True)
            for process in map(int, left.stdout.split()):  # or the namespace would stay
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", host.namespace], capture_output=True)
            shutil.rmtree(_files_of(host), ignore_errors=True)
        subprocess.run(["ip", "link", "delete", self._switch], capture_output=True)


def enter(namespace: str) -> None:
    """Put this process into a network namespace, as `ip netns exec` does."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as opened:
        if libc.setns(opened.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {namespace}")


def _files_of(host: Host) -> Path:
    """What `ip netns exec` puts in the place of /etc."""
    return Path("/etc/netns") / host.namespace


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
