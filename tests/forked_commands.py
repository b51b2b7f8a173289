"""`python` and `sadp-dist` for scripts of tests and for torchrun's ranks: what they start is a fork.

It is one of `tests.forked`, on the host of `tests.network` that the script is on. torchrun is a Python of its
own: its agents look through every module that is imported, again and again, and a fork has thousands.
"""

from __future__ import annotations

import marshal
import os
import socket
import sys
import tempfile
import threading
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path

import psutil

from tests.forked import Forked

# It imports no more than it needs: a script starts dozens of them.
COMMAND = """#!{python} -IS
import marshal, os, signal, socket, sys

python, (name, *arguments) = {python!r}, sys.argv
if os.path.basename(name) == "torchrun":
    os.execv(python, [python, "-m", "torch.distributed.run", *arguments])
if os.path.basename(name) == "sadp-dist":
    arguments = ["-m", "sadp_dist", *arguments]
environment = dict(os.environ)
if arguments[:1] == ["-u"]:
    environment["PYTHONUNBUFFERED"] = arguments.pop(0)
if not (arguments and (arguments[0] in ("-m", "-c") or arguments[0].endswith(".py"))):
    os.execv(python, [python, *sys.argv[1:]])

with socket.socket(socket.AF_UNIX) as line, line.makefile("r") as answers:
    line.connect({address!r})
    socket.send_fds(line, [b" "], [0, 1, 2])
    line.sendall(marshal.dumps((arguments, os.getcwd(), environment, os.getpid())))
    process = int(answers.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(process, number))
    status = int(answers.readline())
sys.exit(status if status >= 0 else 128 - status)
"""


class ForkedCommands:
    """Within `with`, the commands of a folder work.

    Attributes:
        found: variables by which they are found first: by a shell, by launch/torchrun.sh, by torchrun.
        environment: this process's, with these.
    """

    def __enter__(self) -> ForkedCommands:
        self._folder = tempfile.TemporaryDirectory(prefix="forks-")  # a socket's path has to be short
        folder = Path(self._folder.name)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "socket"))
        self._listener.listen()
        (folder / "bin").mkdir()
        for name in ("python", "sadp-dist", "torchrun"):
            path = folder / "bin" / name
            path.write_text(COMMAND.format(python=sys.executable, address=str(folder / "socket")))
            path.chmod(0o755)
        threading.Thread(target=self._serve, daemon=True).start()
        # The others of the virtual environment, such as ray, are as they were.
        path = f"{folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.found = {"PATH": path, "VENV": str(folder), "PYTHON_EXEC": f"{folder}/bin/python"}
        self.environment = {**os.environ, **self.found}
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._folder.cleanup()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:  # it is closed
                return
            threading.Thread(target=_run, args=(line,), daemon=True).start()


def _run(line: socket.socket) -> None:
    """Start what a command asks for, and tell it the process and, at the end, the status."""
    with line:
        _, streams, *_ = socket.recv_fds(line, 1, 3)
        with line.makefile("rb") as asked:
            arguments, cwd, environment, command = marshal.load(asked)
        stdin, stdout, stderr = streams
        with Forked(
            arguments, cwd=cwd, env=environment, stdin=stdin, stdout=stdout, stderr=stderr, where=command
        ) as process:
            for stream in streams:
                os.close(stream)
            with suppress(OSError):  # the command itself was killed
                line.sendall(b"%d\n" % process.pid)
            connection.wait([process.sentinel, line])  # the line, if the command itself was killed
            status = process.poll()
            if status is None:  # so is what it has started, which one would find below the command
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
        if status is not None:
            line.sendall(b"%d\n" % status)
