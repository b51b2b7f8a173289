"""Python processes that start at once: forks of a server that has imported torch and this package.

Each is a process of its own, with arguments, environment, folder, streams, signals and an exit status as
after `python ARGUMENTS`. Only the imports, 4 s of CPU time for a training command, are done once for all.
So this is not for tests of what a command imports, or of variables that Python reads when it starts
(`PYTHONPATH`, `NUMBA_CACHE_DIR`): these start `sys.executable`.
"""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing import connection, reduction
from pathlib import Path
from typing import IO, Any

from tests.ports import free_port

PRELOADED = [
    "tests.forked",
    "torch._dynamo",  # which every optimizer imports
    "torch.distributed",
    "torch.utils.tensorboard",
    "sadp_dist.cli.main",
    "sadp_dist.loading",
    "sadp_dist.training.run",
    "sadp_dist.training.trainer",
    "sadp_dist.training.stages",
    "sadp_dist.store.backends.redis.serving",
    "spikingjelly.activation_based.neuron",
    "torchvision",
    "tests.frozen",
]
# torch reads it when it is imported; launch/torchrun.sh sets it for the agents and ranks that it starts.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(PRELOADED)
POLLING = threading.RLock()
"""To be held where a child is started, which asks all others whether they have ended, or is asked itself. Of
two threads that ask at the same time, one would read the status, the other the pipe's end, which is 255."""


class Forked:
    """`python ARGUMENTS` as a running process; a `subprocess.Popen` that is killed after `with`.

    Args:
        arguments: after `python`: a script, `-m MODULE` or `-c CODE`, then its own arguments.
        cwd: its folder; None is this process's.
        env: its whole environment; None is this process's.
        stdin, stdout, stderr: file descriptors or files; None is this process's; for stdout and stderr also
            `subprocess.PIPE`, and for stderr `subprocess.STDOUT`.
        where: a process on a host of `tests.network`, on which it is to be; None is this process's.
    """

    def __init__(
        self,
        arguments: Iterable[object],
        *,
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[Any] | None = None,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        where: int | None = None,
    ) -> None:
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        ours: list[int] = []
        streams = [_number(stdin, 0)]
        for name, stream, number in (("stdout", stdout, 1), ("stderr", stderr, 2)):
            if stream == subprocess.PIPE:
                read, write = os.pipe()
                setattr(self, name, os.fdopen(read, encoding="utf-8"))
                ours.append(write)
                streams.append(write)
            else:
                streams.append(streams[1] if stream == subprocess.STDOUT else _number(stream, number))
        self._process = _SERVER.Process(
            target=_main,
            args=(
                list(map(str, arguments)),
                str(cwd or os.getcwd()),
                dict(os.environ if env is None else env),
                [_Descriptor(stream) for stream in streams],
                where,
            ),
            daemon=True,
        )
        with POLLING:
            self._process.start()
        for number in ours:
            os.close(number)
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, below 0 for a signal; None while it runs."""
        with POLLING:
            return self._process.exitcode

    @property
    def sentinel(self) -> int:
        """What `multiprocessing.connection.wait` sees the end of the process by."""
        return self._process.sentinel

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        connection.wait([self.sentinel], timeout)
        status = self.returncode
        if status is None:
            raise subprocess.TimeoutExpired("python", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()


def run_forked(
    arguments: Iterable[object],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 240,
) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` to its end; its exit status and what it printed."""
    return run_ranks(arguments, 1, cwd=cwd, env=env, timeout=timeout, distributed=False)


def run_ranks(
    arguments: Iterable[object],
    ranks: int,
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 240,
    distributed: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run the ranks of a job as torchrun does; the first status that is not 0, and what all printed.

    The others are killed when one fails. Without `distributed`, nothing says that they are ranks.
    """
    arguments = list(map(str, arguments))
    env = dict(os.environ if env is None else env)
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        environments = rank_environments(ranks) if distributed else [{}] * ranks
        processes = [
            Forked(arguments, cwd=cwd, env={**env, **rank}, stdout=out, stderr=err) for rank in environments
        ]
        status = _end(processes, arguments, timeout)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(arguments, status, out.read(), err.read())


def rank_environments(ranks: int) -> list[dict[str, str]]:
    """The variables of each rank of a job on this machine."""
    job = {"WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1"}
    job["MASTER_PORT"] = free_port()
    each = [{**job, "RANK": rank, "LOCAL_RANK": rank} for rank in range(ranks)]
    return [{name: str(value) for name, value in rank.items()} for rank in each]


def _end(processes: Sequence[Forked], arguments: list[str], timeout: float) -> int:
    """Wait until all have ended or one has failed; the first status that is not 0."""
    deadline = time.monotonic() + timeout
    try:
        while True:
            ended = [process.poll() for process in processes]
            failed = [status for status in ended if status]
            if failed or None not in ended:
                return failed[0] if failed else 0
            left = deadline - time.monotonic()
            if left < 0:
                raise subprocess.TimeoutExpired(arguments, timeout)
            waiting = [process for process in processes if process.poll() is None]
            connection.wait([process.sentinel for process in waiting], min(left, 1))
    finally:
        for process in processes:
            process.kill()
            process.wait()


class _Descriptor:
    """A file descriptor that travels to the new process."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (reduction.DupFd(self._number),)


def _arrived(descriptor: Any) -> int:
    return int(descriptor.detach())


def _number(stream: int | IO[Any] | None, default: int) -> int:
    if stream == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR)
    if stream is None:
        return default
    return stream if isinstance(stream, int) else stream.fileno()


def _main(arguments: list[str], cwd: str, env: dict[str, str], streams: list[int], where: int | None) -> None:
    """What the new process does."""
    if where is not None:
        _go_to(where)
    # As in a shell's foreground, also where these tests run in a background that ignores Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in {*streams} - {0, 1, 2}:
        os.close(stream)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = _writer(1, buffered=not os.isatty(1) and "PYTHONUNBUFFERED" not in env)
    sys.stderr = _writer(2, buffered=False)
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    multiprocessing.set_start_method(None, force=True)  # or its own processes would start another server
    status = _run(arguments)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream_ in (sys.stdout, sys.stderr):
        stream_.flush()
    os._exit(status)


def _go_to(process: int) -> None:
    """Go to the host of a process: its network, its name and its files."""
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in ("net", "uts", "mnt"):
        there = f"/proc/{process}/ns/{kind}"
        if os.readlink(there) != os.readlink(f"/proc/self/ns/{kind}"):
            with open(there) as opened:
                if libc.setns(opened.fileno(), 0) != 0:
                    raise OSError(ctypes.get_errno(), f"setns to {there}")


def _writer(number: int, buffered: bool) -> Any:
    errors = "strict" if number == 1 else "backslashreplace"
    return os.fdopen(number, "w", 1 if not buffered else -1, "utf-8", errors, closefd=False)


def _run(arguments: list[str]) -> int:
    """Run it as `python ARGUMENTS`; the exit status."""
    try:
        match arguments:
            case ["-m", module, *rest]:
                sys.argv = [module, *rest]
                sys.path.insert(0, os.getcwd())
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            case ["-c", code, *rest]:
                sys.argv = ["-c", *rest]
                sys.path.insert(0, "")
                exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
            case [script, *rest]:
                sys.argv = [script, *rest]
                sys.path.insert(0, str(Path(script).parent))
                runpy.run_path(script, run_name="__main__")
            case []:
                raise ValueError("no arguments for python")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        return 1
    return 0
