"""What `doctor` says of a Redis: real servers, each with something wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from sadp_dist import PruningConfig, connect
from sadp_dist.doctor import CHECKS
from sadp_dist.store import list_runs
from tests.doctor.command import Answer, doctor
from tests.ports import free_port
from tests.store.redis_server import PASSWORD, ROOT, USER, RedisServer

ABOUT_REDIS = tuple(check.name for check in CHECKS if check.name.startswith("Redis "))
QUICK = tuple(name for name in ABOUT_REDIS if name != "Redis permissions")
LOGIN = {"SADP_DIST_REDIS_USERNAME": USER, "SADP_DIST_REDIS_PASSWORD": PASSWORD}


def look_at(url: str, *arguments: str, only: tuple[str, ...] = QUICK, **environment: str) -> Answer:
    answer = doctor("--store", url, *arguments, only=only, **environment)
    assert PASSWORD not in answer.printed
    assert "hunter2" not in answer.printed
    return answer


@pytest.fixture(scope="module")
def restricted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server with docker/redis.conf."""
    with RedisServer(tmp_path_factory.mktemp("restricted"), conf=ROOT / "docker" / "redis.conf") as server:
        yield server


@pytest.fixture
def plain(tmp_path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, aof=True) as server:
        yield server


def test_with_docker_redis_conf_all_is_well_and_nothing_is_left_behind(restricted, monkeypatch):
    answer = look_at(restricted.url, only=ABOUT_REDIS, **LOGIN)
    assert answer.states == dict.fromkeys(ABOUT_REDIS, "ok"), answer.found
    assert answer.status == 0
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
    assert list_runs(restricted.url) == []


def test_over_tls(tmp_path):
    with RedisServer(tmp_path, tls=True, aof=True) as server:
        assert look_at(server.url).states == dict.fromkeys(QUICK, "ok")
        untrusted = look_at(server.url.partition("?")[0])
        assert "certificate" in untrusted.found["Redis reached"]


def test_without_persistence_and_with_eviction(plain):
    plain.configure(appendonly="no", maxmemory_policy="allkeys-lru", maxmemory=0)
    answer = look_at(plain.url)
    assert answer.status == 0
    assert answer.states["Redis persistence"] == answer.states["Redis eviction"] == "warning"
    here = f"`redis-cli -h {plain.host} -p {plain.port} config set"
    assert answer.mend["Redis persistence"].startswith(f"{here} appendonly yes`")
    assert answer.mend["Redis eviction"].startswith(f"{here} maxmemory-policy noeviction`")
    plain.configure(maxmemory="100mb")
    assert look_at(plain.url).states["Redis eviction"] == "broken"


def test_what_doctor_tells_to_type_mends_it(plain):
    plain.configure(appendonly="no", maxmemory="10mb", maxmemory_policy="volatile-lru")
    ill = look_at(plain.url, "--dataset-size", "1000000")
    assert [name for name, state in ill.states.items() if state != "ok"] == [
        "Redis persistence",
        "Redis eviction",
        "Redis memory",
    ]
    with plain.client() as client:
        for mend in filter(None, ill.mend.values()):
            client.execute_command(*mend.split("`")[1].split()[5:])
    well = look_at(plain.url, "--dataset-size", "1000000")
    assert well.states == dict.fromkeys(QUICK, "ok"), well.found


def test_without_a_limit_of_its_memory(plain):
    plain.configure(maxmemory=0)
    answer = look_at(plain.url, only=("Redis memory",))
    assert (answer.status, answer.states) == (0, {"Redis memory": "warning"})
    assert "there is no maxmemory" in answer.found["Redis memory"]
    with plain.client() as client:
        client.execute_command(*answer.mend["Redis memory"].split("`")[1].split()[5:])
    assert look_at(plain.url, only=("Redis memory",)).states == {"Redis memory": "ok"}


def test_memory_for_the_runs_that_are_there(plain):
    with connect(plain.url, "large", 200_000, PruningConfig(ratio=0.5, epochs=2), planner="server"):
        pass
    plain.configure(maxmemory="30mb")
    answer = look_at(plain.url, only=("Redis memory",))
    assert (answer.status, answer.states) == (1, {"Redis memory": "broken"})
    assert "its 1 run(s) need 38 MiB of 30 MiB" in answer.found["Redis memory"]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (">hunter2 ~* +@all", "refuses this user and password"),
        (f">{PASSWORD} ~sadp_dist:* +@all -info", "docker/redis.conf for the required rights"),
    ],
)
def test_a_user_that_is_not_let_in(plain, rules, expected):
    with plain.client() as client:
        client.execute_command("ACL", "SETUSER", USER, "on", *rules.split())
    answer = look_at(plain.url, only=ABOUT_REDIS, **LOGIN)
    assert answer.status == 1
    assert answer.states == {**dict.fromkeys(ABOUT_REDIS, "skipped"), "Redis reached": "broken"}
    assert expected in answer.found["Redis reached"]


def test_a_user_with_rights_to_other_keys(plain):
    with plain.client() as client:
        client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~other:*", "+@all")
    answer = look_at(plain.url, **LOGIN)
    assert answer.states["Redis memory"] == "broken"
    assert "docker/redis.conf for the required rights" in answer.found["Redis memory"]


def test_a_user_that_may_read_alone(plain):
    with plain.client() as client:
        client.execute_command(
            "ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "+@read", "+info", "+select"
        )
    answer = look_at(plain.url, only=ABOUT_REDIS, **LOGIN)
    assert answer.states == {**dict.fromkeys(ABOUT_REDIS, "ok"), "Redis permissions": "broken"}
    assert "rights" in answer.found["Redis permissions"]
    assert "docker/redis.conf" in answer.mend["Redis permissions"]


@pytest.mark.slow
def test_nobody_there_and_somebody_who_does_not_answer():
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for port, expected in (
            (free_port(), "cannot be reached"),
            (silent.getsockname()[1], "did not answer"),
        ):
            answer = look_at(f"redis://:hunter2@127.0.0.1:{port}")
            assert answer.status == 1
            assert expected in answer.found["Redis reached"]


def test_no_ray_cluster_there():
    answer = doctor("--store", f"ray://127.0.0.1:{free_port()}", only=("Ray cluster",))
    assert (answer.status, answer.states) == (1, {"Ray cluster": "broken"})
    assert "ray start --head" in str(answer.mend["Ray cluster"])
