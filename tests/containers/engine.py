"""A container engine and its compose, by the commands that run them.

CONTAINER_ENGINE   runs containers                 (default: docker or podman, whichever answers)
CONTAINER_BUILD    builds an image                 (default: CONTAINER_ENGINE build)
CONTAINER_COMPOSE  brings services up              (default: docker compose, or podman-compose)
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMPOSE = {"docker": "docker compose", "podman": "podman-compose"}


class Engine:
    """The commands, and what they say."""

    def __init__(self, engine: str) -> None:
        self._engine = shlex.split(engine)
        self._build = shlex.split(os.environ.get("CONTAINER_BUILD", f"{engine} build"))
        self.compose = shlex.split(os.environ.get("CONTAINER_COMPOSE", COMPOSE.get(engine, "")))

    def __call__(self, *arguments: object, check: bool = True) -> str:
        """Run a command of the engine and return what it prints."""
        return output([*self._engine, *map(str, arguments)], check=check)

    def build(self, *arguments: object) -> None:
        output([*self._build, *map(str, arguments)])

    def inspect(self, name: str) -> dict[str, Any]:
        (found,) = json.loads(self("inspect", name))
        return dict(found)

    def is_healthy(self, container: str) -> bool:
        """What the container's own health check says. podman without systemd runs it only when asked."""
        self("healthcheck", "run", container, check=False)
        return bool(self.inspect(container)["State"]["Health"]["Status"] == "healthy")


def find_engine() -> Engine | None:
    """The engine of this machine, None where there is none that answers."""
    if "CONTAINER_ENGINE" in os.environ:
        return Engine(os.environ["CONTAINER_ENGINE"])
    return next((Engine(name) for name in COMPOSE if answers(name)), None)


@cache
def answers(name: str) -> bool:
    try:
        return subprocess.run([name, "info"], capture_output=True, timeout=30).returncode == 0
    except OSError:
        return False


def output(command: list[str], environment: dict[str, str] | None = None, check: bool = True) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(environment or {})}, capture_output=True, text=True
    )
    assert not check or done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


class Project:
    """The services of one compose file, under a name of their own.

    Args:
        file: of docker/.
        profile: that is on, if any.
        variables: of the file.
    """

    def __init__(
        self, engine: Engine, name: str, file: str, profile: str | None = None, **variables: str
    ) -> None:
        self._engine, self.name = engine, name
        self.variables = {"COMPOSE_PROJECT_NAME": name, **variables}
        self._command = [*engine.compose, "--file", str(ROOT / "docker" / file)]
        if profile:
            self._command += ["--profile", profile]

    def __call__(self, *arguments: str, check: bool = True) -> str:
        """Run a command of compose and return what it prints."""
        return output([*self._command, *arguments], self.variables, check)

    def containers(self, service: str) -> list[str]:
        """Names of a service's containers, running or not."""
        labels = {"project": self.name, "service": service}
        filters = (f"--filter=label=com.docker.compose.{key}={value}" for key, value in labels.items())
        return sorted(self._engine("ps", "--all", *filters, "--format", "{{.Names}}").split())

    def logs(self) -> str:
        return self("logs", check=False)

    def said(self, service: str) -> str:
        """What a service's containers have printed; of several, podman-compose gives one's."""
        return "".join(self._engine("logs", container, check=False) for container in self.containers(service))

    def kill(self, container: str) -> None:
        """kill -9 of a container's first process, not by the engine, which would take it for its own wish."""
        number = self._engine.inspect(container)["State"]["Pid"]
        assert number, self.logs()
        image = self.variables["IMAGE"]
        in_the_machine = ["--rm", "--privileged", "--pid=host", "--user=0", "--entrypoint=sh"]
        self._engine("run", *in_the_machine, image, "-c", f"kill -9 {number}")

    def wait(self, come: Callable[[], bool], patience: float = 240) -> None:
        deadline = time.monotonic() + patience
        while not come():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.5)

    def leftovers(self) -> str:
        """Names of what is left of the project: containers, volumes and networks."""
        by_label = f"--filter=label=com.docker.compose.project={self.name}"
        return (
            self._engine("ps", "--all", by_label, "--format", "{{.Names}}")
            + self._engine("volume", "ls", by_label, "--format", "{{.Name}}")
            + self._engine("network", "ls", by_label, "--format", "{{.Name}}")
        )


@contextmanager
def up(project: Project, *arguments: str) -> Iterator[Project]:
    """Bring services up, and in the end down with all that they had."""
    try:
        project("up", "--detach", *arguments)
        yield project
    finally:
        project("down", "--volumes", "--remove-orphans")
    left = project.leftovers()
    assert not left, left
