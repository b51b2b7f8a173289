"""Free ports of this machine for servers of the tests."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path

FIRST, LAST = 20_000, 31_999
"""Above Ray's ports for workers. Below those that Linux gives to connections and to port 0: another program
could get such a port before the server has it."""
_GIVEN = Path(tempfile.gettempdir()) / f"sadp_dist-tests-port-{os.getuid()}"


def free_port(host: str = "127.0.0.1") -> int:
    """A port at which nobody listens, and which no other test gets."""
    with _GIVEN.open("a+", encoding="ascii") as given:
        fcntl.flock(given, fcntl.LOCK_EX)
        given.seek(0)
        port = int(given.read() or LAST)
        while True:
            port = port + 1 if port < LAST else FIRST
            if _is_free(host, port):
                given.truncate(0)
                given.write(str(port))
                return port


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind((host, port))
        except OSError:
            return False
        return True
