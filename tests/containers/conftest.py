"""The engine, an image of this checkout, and secrets."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.containers.engine import ROOT, Engine, find_engine

TORCH_SPEC = os.environ.get("TORCH_SPEC", "torch==2.13.0")


@pytest.fixture(scope="session")
def engine() -> Engine:
    found = find_engine()
    if found is None:
        pytest.skip("no container engine answers: start docker or podman, or name one in CONTAINER_ENGINE")
    if not found.compose or shutil.which(found.compose[0]) is None:
        pytest.skip("no compose for the container engine: name one in CONTAINER_COMPOSE")
    return found


@pytest.fixture(scope="session")
def image(engine) -> str:
    """The image, built; what has not changed since the last time is not built again."""
    name = "sadp_dist:test"
    engine.build(
        *("--file", "docker/Dockerfile", "--tag", name, "--build-arg", f"TORCH_SPEC={TORCH_SPEC}"), ROOT
    )
    try:
        engine("run", "--rm", "--network", "bridge", "--entrypoint", "true", name)
    except AssertionError as error:  # compose would wait for ever for services that cannot start
        reason = str(error).strip().splitlines()[-1]
        pytest.skip(f"the container engine starts no container with a network (is iptables there?): {reason}")
    return name


@pytest.fixture(scope="session")
def secrets(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("containers") / "secrets"
    environment = {**os.environ, "SECRETS": str(folder)}
    subprocess.run([ROOT / "docker" / "secrets.sh"], env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def name() -> str:
    """Of a compose project, one that no other run of the tests has."""
    return f"sadp_dist-test-{uuid.uuid4().hex[:8]}"
