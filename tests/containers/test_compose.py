"""docker/compose.yaml and compose.node.yaml for real: brought up, broken, watched from the host, and down."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
import yaml

from tests.containers.engine import Engine, Project, up
from tests.ports import free_port

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.timeout(1800)]

HERE = "127.0.0.29"  # of this machine, and nobody else's
RUN = "digits-pruned"
EPOCHS = 50
QUICK = "training.batch_size=60 training.checkpoint_every=5"


@pytest.fixture(scope="module")
def services(engine: Engine, image: str, secrets: Path, name: str) -> Iterator[Project]:
    """All services with two trainers, which have begun."""
    project = Project(
        engine,
        name,
        "compose.yaml",
        IMAGE=image,
        SECRETS=str(secrets),
        BIND=HERE,
        DASHBOARD_PORT=str(free_port()),
        JOIN_SECONDS="2",
        RECIPE=f"configs/digits.yaml {QUICK} training.epochs={EPOCHS}",
    )
    with up(project, "--scale", "trainer=2"):
        yield project


def stats(secrets: Path) -> dict:
    """What `sadp-dist stats` says on the host."""
    done = subprocess.run(
        [sys.executable, "-m", "sadp_dist", "stats", "--store", f"redis://{HERE}", "--run", RUN, "--json"],
        env={
            **os.environ,
            "SADP_DIST_REDIS_USERNAME": "sadp_dist",
            "SADP_DIST_REDIS_PASSWORD_FILE": str(secrets / "redis_password"),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def has_trained(services: Project, epoch: int, epochs: int) -> bool:
    """Whether a trainer has said that it is through an epoch, counted from 1."""
    return re.search(rf"epoch +{epoch}/{epochs} ", services.said("trainer")) is not None


def ask(services: Project, path: str, token: str = "") -> bytes:
    """What the dashboard answers."""
    url = f"http://127.0.0.1:{services.variables['DASHBOARD_PORT']}{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


def test_a_trainer_is_killed_and_comes_back_and_the_run_ends(engine, services, secrets):
    trainers = services.containers("trainer")
    assert len(trainers) == 2
    services.wait(lambda: has_trained(services, 3, EPOCHS))
    services.wait(lambda: len(stats(secrets)["rank_epochs"]) == 2)
    started = engine.inspect(trainers[0])["State"]["StartedAt"]
    services.kill(trainers[0])
    services.wait(lambda: engine.inspect(trainers[0])["State"]["StartedAt"] != started)
    assert stats(secrets)["epoch"] < EPOCHS - 1, "the run was over before a trainer was killed"
    services.wait(
        lambda: not any(engine.inspect(trainer)["State"]["Running"] for trainer in trainers), patience=400
    )
    states = {trainer: engine.inspect(trainer)["State"] for trainer in trainers}
    assert {state["ExitCode"] for state in states.values()} == {0}, services.logs()
    assert stats(secrets)["epoch"] == EPOCHS - 1
    assert has_trained(services, EPOCHS, EPOCHS)


def test_every_service_is_healthy(engine, services):
    for service in ("redis", "planner", "rendezvous", "dashboard"):
        (container,) = services.containers(service)
        services.wait(lambda container=container: engine.is_healthy(container), patience=60)


def test_the_dashboard_shows_the_run_to_who_has_the_token(services, secrets):
    assert ask(services, "/healthz") == b"ok"
    with pytest.raises(HTTPError, match="401"):
        ask(services, "/metrics")
    with pytest.raises(HTTPError, match="401"):
        ask(services, "/metrics", "x" * 32)
    token = (secrets / "dashboard_token").read_text().strip()
    assert f'sadp_dist_epoch{{run="{RUN}"}} {EPOCHS - 1}.0' in ask(services, "/metrics", token).decode()
    assert ask(services, "/api/images/0", token).startswith((b"\x89PNG", b"RIFF"))


def test_a_node_of_a_cluster_trains_at_the_head_s_address(engine, services, secrets, tmp_path):
    (dashboard,) = services.containers("dashboard")
    engine("cp", f"{dashboard}:/work/data", tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs").chmod(0o777)
    node = Project(
        engine,
        f"{services.name}-node",
        "compose.node.yaml",
        "cpu",
        IMAGE=services.variables["IMAGE"],
        SECRETS=str(secrets),
        HEAD=HERE,
        SHARED=str(tmp_path),
        ADDRESS=HERE,
        JOB="node",
        JOIN_SECONDS="1",
        RECIPE=f"configs/digits.yaml name=node {QUICK} training.epochs=2",
    )
    with up(node):
        (trainer,) = node.containers("trainer")
        node.wait(lambda: not engine.inspect(trainer)["State"]["Running"])
        assert engine.inspect(trainer)["State"]["ExitCode"] == 0, node.logs()
        assert has_trained(node, 2, 2)
    assert (tmp_path / "runs" / "node" / "metrics.jsonl").exists()


def test_a_node_with_the_gpu_profile_reserves_its_gpus_and_starts_a_rank_on_each(engine):
    node = Project(engine, "gpus", "compose.node.yaml", "gpu", HEAD="head", SHARED="/shared")
    services = yaml.safe_load(node("config"))["services"]
    assert list(services) == ["trainer-gpu"]
    trainer = services["trainer-gpu"]
    (device,) = trainer["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]
    assert trainer["environment"]["PET_NPROC_PER_NODE"] == "gpu"
