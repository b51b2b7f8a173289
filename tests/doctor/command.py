"""`sadp-dist doctor` as a process of its own, and what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.forked import run_forked


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes:
        status: the exit status.
        printed: all of stdout and stderr.
        states: "ok", "warning" and so on, by check.
        found: what each check found.
        mend: the command that mends it, if there is one.
    """

    status: int
    printed: str
    states: dict[str, str]
    found: dict[str, str]
    mend: dict[str, str | None]


def doctor(*arguments: object, only: tuple[str, ...] = (), inside: str = "", **environment: str) -> Answer:
    """Run it.

    Args:
        arguments: of the command.
        only: names of the checks to make; by default all.
        inside: shell commands before it, such as `ulimit -n 50`.
        environment: what is set beside this process's.
    """
    done = run(
        *arguments,
        "--json",
        *(word for name in only for word in ("--only", name)),
        inside=inside,
        **environment,
    )
    checks = json.loads(done.stdout)["checks"] if done.stdout.startswith("{") else []
    each = {part: {check["name"]: check[part] for check in checks} for part in ("state", "found", "mend")}
    return Answer(done.returncode, done.stdout + done.stderr, each["state"], each["found"], each["mend"])


def run(*arguments: object, inside: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it and give what it printed.

    Where it makes some checks alone, and no variable changes what Python imports, its imports are done.
    """
    environment = {"OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment}
    if "--only" in arguments and not inside and "PYTHONPATH" not in environment:
        return run_forked(["-m", "sadp_dist", "doctor", *arguments], env={**os.environ, **environment})
    command = [sys.executable, "-m", "sadp_dist", "doctor", *map(str, arguments)]
    if inside:
        command = ["bash", "-euc", f'{inside}; exec "$@"', "doctor", *command]
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


MAY_MOUNT = (
    subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True
    ).returncode
    == 0
)
may_mount = pytest.mark.skipif(not MAY_MOUNT, reason="needs the right to mount")


def with_mounts(*commands: str) -> str:
    """What is mounted for one process alone, before it runs."""
    return f'exec unshare --mount bash -euc \'{"; ".join(commands)}; exec "$@"\' doctor "$@"'
