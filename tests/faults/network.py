"""A network of its own for a rank, joined to this machine's by a cable that can be pulled."""

from __future__ import annotations

import ctypes
import ipaddress
import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

BENCHMARKS = ipaddress.ip_address("198.18.0.0")  # a /15 that nobody else uses (RFC 2544)
_NUMBERS = itertools.count(os.getpid() % 16_000)


class Cable:
    """A pair of virtual Ethernet devices, one end in a network namespace; within `with` it is there.

    Attributes:
        here: the address of this machine at it.
        name: of the namespace at the other end; `enter` it.
    """

    def __init__(self) -> None:
        number = next(_NUMBERS)
        self.name = f"sadp{number}"
        net = BENCHMARKS + 4 * number
        self.here, self._there = str(net + 1), str(net + 2)

    def __enter__(self) -> Cable:
        try:
            _ip("netns", "add", self.name)
            _ip("link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces on this machine: {getattr(error, 'stderr', error)}")
        _ip("address", "add", f"{self.here}/30", "dev", self.name)
        _ip("link", "set", self.name, "up")
        _ip("-n", self.name, "address", "add", f"{self._there}/30", "dev", "eth0")
        _ip("-n", self.name, "link", "set", "eth0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        _ip("netns", "delete", self.name)

    @contextmanager
    def pulled(self, seconds: float) -> Iterator[None]:
        """What is sent meanwhile gets lost, and nobody is told."""
        _ip("link", "set", self.name, "down")
        yield
        time.sleep(seconds)
        _ip("link", "set", self.name, "up")


def enter(name: str) -> None:
    """Put this process into a network namespace, as `ip netns exec` does."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{name}") as namespace:
        if libc.setns(namespace.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {name}")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
