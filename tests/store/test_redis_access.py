"""Getting into a Redis: addresses, users and their rights, TLS, databases; what is said when one does not."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from redis.exceptions import NoPermissionError

from sadp_dist import PruningConfig, connect
from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store import attach
from sadp_dist.store.backends.redis import backend as redis_backend
from sadp_dist.store.backends.redis import list_runs, remove_run
from sadp_dist.store.backends.redis.address import Address
from tests.store.redis_server import (
    PASSWORD,
    ROOT,
    USER,
    RedisServer,
    ServeProcess,
    form_cluster,
    free_port,
    until,
)

N = 400
PRUNING = PruningConfig(ratio=0.4, epochs=6, seed=4)
LOGIN = f"{USER}:{quote(PASSWORD, safe='')}@"


@pytest.fixture(scope="module")
def restricted(tmp_path_factory) -> Iterator[RedisServer]:
    """A server with docker/redis.conf."""
    folder = tmp_path_factory.mktemp("restricted")
    with RedisServer(folder, conf=ROOT / "docker" / "redis.conf") as server:
        yield server


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("encrypted"), tls=True) as server:
        yield server


def url_of(server: RedisServer, login: str = LOGIN, scheme: str = "redis", rest: str = "/0") -> str:
    return f"{scheme}://{login}{server.host}:{server.port}{rest}"


def train(url: str, run: str, epochs: int = 4, **options: object) -> None:
    """A run of one rank whose plans are those of the embedded store."""
    with connect(url, run, N, PRUNING, **options) as store, connect("memory:", run, N, PRUNING) as expected:
        for epoch in range(epochs):
            shard = store.plan(epoch, 0, 1)
            assert shard.indices.tolist() == expected.plan(epoch).indices.tolist()
            scores = np.random.default_rng(epoch).lognormal(size=len(shard.indices))
            for each in (store, expected):
                each.push(shard.indices, scores, epoch=epoch)
        store.flush()
        assert store.top(5)[0].tolist() == expected.top(5)[0].tolist()


def everything(url: str, run: str, folder: Path) -> None:
    """All that the store does."""
    train(url, run, planner="rank0")
    with connect(url, run, N, PRUNING, planner="auto") as store:
        store.save(folder / "store.npz")
        store.load(folder / "store.npz")
        store.plan(5, 0, 1)
        store.reset()
        store.plan(0, 0, 1)
        with attach(url, run) as reader:
            assert reader.stats().to_dict()["run"] == run
            assert np.isnan(reader.scores([1])).all()
    with ServeProcess(url) as server:
        train(url, f"{run} served", planner="server")
        assert server.terminate() == 0
    assert {found["run"] for found in list_runs(url)} >= {run, f"{run} served"}
    for name in (run, f"{run} served"):
        remove_run(url, name)


@pytest.mark.slow
def test_the_user_of_docker_redis_conf_may_do_all_that_the_store_does(restricted, tmp_path):
    everything(url_of(restricted), "acl", tmp_path)


def test_the_user_of_docker_redis_conf_may_do_nothing_else(restricted):
    client = restricted.client()
    client.set("sadp_dist:{x}:meta", "1")
    for call in (
        lambda: client.get("x"),
        lambda: client.set("another", "1"),
        lambda: client.xadd("stream", {"f": "1"}),
        lambda: client.keys("*"),
        lambda: client.flushall(),
        lambda: client.config_get("*"),
        lambda: client.acl_list(),
        lambda: client.eval("return 1", 0),
        lambda: client.rename("sadp_dist:{x}:meta", "sadp_dist:{x}:status"),
        lambda: client.publish("sadp_dist:channel", "1"),
        lambda: client.shutdown(),
    ):
        with pytest.raises(NoPermissionError):
            call()
    client.unlink("sadp_dist:{x}:meta")


@pytest.mark.slow
def test_every_command_that_docker_redis_conf_allows_is_one_that_the_store_uses(tmp_path):
    lines = (ROOT / "docker" / "redis.conf").read_text().splitlines()
    rules = next(line for line in lines if line.startswith("user sadp_dist ")).split()
    with RedisServer(tmp_path / "redis") as server:
        everything(url_of(server, "", rest="/1"), "used", tmp_path)
        with connect(server.url, "renewed", N, PRUNING):
            until(lambda: "cmdstat_pexpire" in server.client().info("commandstats"))
        used = {name.removeprefix("cmdstat_") for name in server.client().info("commandstats")}
    after_a_race = {"unwatch"}
    assert {rule[1:] for rule in rules if rule.startswith("+")} - used <= after_a_race


def test_a_server_with_the_placeholder_for_a_password_does_not_start(tmp_path):
    conf = ROOT / "docker" / "redis.conf"
    done = subprocess.run(["redis-server", conf], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode != 0
    assert "PASSWORD_SHA256" in done.stdout + done.stderr


def test_user_password_and_authority_may_come_from_the_environment(restricted, encrypted, monkeypatch):
    monkeypatch.setenv("SADP_DIST_REDIS_USERNAME", USER)
    monkeypatch.setenv("SADP_DIST_REDIS_PASSWORD", PASSWORD)
    train(restricted.url, "environment")
    monkeypatch.delenv("SADP_DIST_REDIS_USERNAME")
    monkeypatch.delenv("SADP_DIST_REDIS_PASSWORD")
    monkeypatch.setenv("SADP_DIST_REDIS_CA", str(encrypted.ca_file))
    train(url_of(encrypted, "", "rediss"), "environment")
    with ServeProcess(url_of(encrypted, "", "rediss")) as server:
        train(url_of(encrypted, "", "rediss"), "environment served", planner="server")
        assert server.terminate() == 0


def test_the_password_may_come_from_a_file(restricted, monkeypatch, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("SADP_DIST_REDIS_USERNAME", USER)
    monkeypatch.setenv("SADP_DIST_REDIS_PASSWORD_FILE", str(secret))
    train(restricted.url, "from a file")
    secret.write_text("another")
    with pytest.raises(UsageError, match="refuses this user and password"):
        list_runs(restricted.url)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "No such file or directory"), (b"\xff\xfe", "it is not UTF-8 text")]
)
def test_a_file_of_the_password_that_cannot_be_read_is_named(content, message, monkeypatch, tmp_path):
    secret = tmp_path / "secret"
    if content:
        secret.write_bytes(content)
    monkeypatch.setenv("SADP_DIST_REDIS_PASSWORD_FILE", str(secret))
    with pytest.raises(UsageError, match=f"_PASSWORD_FILE='{secret}' cannot be read: {message}"):
        Address.parse("redis://localhost")


def test_a_password_and_a_file_with_one_are_too_many(monkeypatch, tmp_path):
    monkeypatch.setenv("SADP_DIST_REDIS_PASSWORD", SECRET)
    monkeypatch.setenv("SADP_DIST_REDIS_PASSWORD_FILE", str(tmp_path))
    with pytest.raises(UsageError, match="are both set: leave one out"):
        Address.parse("redis://localhost")


def test_tls_with_the_authority_in_the_url(encrypted, tmp_path):
    everything(encrypted.url, "tls", tmp_path)


def test_each_database_has_its_own_runs(tmp_path):
    with RedisServer(tmp_path) as server:
        for database in (0, 3):
            train(url_of(server, "", rest=f"/{database}"), f"in {database}")
        assert [found["run"] for found in list_runs(url_of(server, "", rest="/3"))] == ["in 3"]
        assert set(server.client().info("keyspace")) == {"db0", "db3"}


@pytest.mark.slow
def test_a_redis_cluster_keeps_each_run_at_one_node_whichever_one_is_told_of(tmp_path):
    with ExitStack() as stack:
        nodes = [stack.enter_context(RedisServer(tmp_path / str(n), cluster=True)) for n in range(3)]
        form_cluster(nodes)
        names = [f"run {number}" for number in range(5)]
        with ServeProcess(url_of(nodes[0], "")) as server:
            for number, name in enumerate(names):
                planner = "server" if number % 2 else "rank0"
                train(url_of(nodes[number % 3], ""), name, planner=planner)
            assert server.terminate() == 0
        for node in nodes:
            assert [found["run"] for found in list_runs(url_of(node, ""))] == names
        places = {name: [n for n, node in enumerate(nodes) if has(node, name)] for name in names}
        assert all(len(at) == 1 for at in places.values())
        assert len({at[0] for at in places.values()}) > 1
        for name in names:
            with attach(url_of(nodes[0], ""), name) as reader:
                assert reader.stats().seen > 0
            remove_run(url_of(nodes[0], ""), name)
        assert list_runs(url_of(nodes[1], "")) == []


def has(node: RedisServer, run: str) -> bool:
    """Whether a node of a cluster has keys of a run."""
    return any(quote(run).encode() in key for key in node.client().keys("*"))


SECRET = "hunter2-very-secret"


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(redis_backend, "PATIENCE", 0.2)


def what_is_said(url: str, kind: type[Exception], caplog, capfd) -> str:
    """The one line of each way to a store, after a look for the password in all that is said."""
    said = []
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
        for call in (
            lambda: connect(url, "no", N, PRUNING, timeout=0.5),
            lambda: attach(url, "no"),
            lambda: list_runs(url),
            lambda: remove_run(url, "no"),
        ):
            with pytest.raises(kind) as refused:
                call()
            said.append(str(refused.value))
            error: BaseException | None = refused.value
            while error is not None:
                assert SECRET not in f"{error!r} {error}"
                error = error.__cause__ or error.__context__
    out, errors = capfd.readouterr()
    for text in (*said, caplog.text, out, errors, *(str(warning.message) for warning in warned)):
        assert SECRET not in text
    assert all("\n" not in line for line in said)
    return said[0]


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        (f"redis://u:{SECRET}@localhost:{{closed}}/0", StoreUnavailable, "cannot be reached"),
        (f"redis://u:{SECRET}@nowhere.invalid/0", StoreUnavailable, "cannot be reached"),
        (f"redis://sadp_dist:{SECRET}@localhost:{{restricted}}/0", UsageError, "refuses this user and"),
        (f"redis://:{SECRET}@localhost:{{restricted}}/0", UsageError, "refuses this user and password"),
        ("redis://localhost:{restricted}/0", UsageError, "SADP_DIST_REDIS_PASSWORD"),
        (
            f"rediss://u:{SECRET}@localhost:{{encrypted}}/0",
            UsageError,
            "certificate of rediss://.*ssl_ca_certs",
        ),
        (f"redis://u:{SECRET}@localhost:{{encrypted}}/0", StoreUnavailable, "cannot be reached"),
        ("redis://localhost:{encrypted}/0?ssl_ca_certs=/x", UsageError, "is not encrypted: use rediss://"),
        (f"redis://u:{SECRET}@localhost:notaport/0", UsageError, "host or port that cannot be read"),
        (f"redis://u:{SECRET}/0", UsageError, "host or port that cannot be read"),
        (f"redis://u:{SECRET}@/0", UsageError, "names no host"),
        (f"redis://u:{SECRET}@localhost/db", UsageError, "a database that is not a number"),
        (f"redis://u:{SECRET}@localhost/0?password={SECRET}", UsageError, "unknown parameter"),
        (f"redis://u:12/{SECRET}@localhost", UsageError, "a number.*percent-encode"),
        (f"redis://u:12?{SECRET}@localhost", UsageError, "unknown parameter.*percent-encode"),
        (f"redis://u:12#{SECRET}@localhost", UsageError, "percent-encode"),
        (f"redis://{SECRET}@localhost:x", UsageError, "host or port that cannot be read"),
        (f"rediss://u:{SECRET}@localhost/0?ssl_ca_certs=/no/ca", UsageError, "'/no/ca' .* is not a file"),
    ],
)
def test_what_is_wrong_is_one_line_without_the_password(
    url, kind, message, restricted, encrypted, quick, caplog, capfd
):
    url = url.replace("localhost", "127.0.0.1")
    for name, port in (
        ("closed", free_port()),
        ("restricted", restricted.port),
        ("encrypted", encrypted.port),
    ):
        url = url.replace(f"{{{name}}}", str(port))
    said = what_is_said(url, kind, caplog, capfd)
    assert re.search(message, said), said


def test_a_url_of_an_unknown_kind_does_not_show_its_password():
    for url in (f"redsi://user:{SECRET}@host/0", f"http://user:{SECRET}@host/0"):
        with pytest.raises(UsageError, match="is not a store") as refused:
            connect(url, "no", N, PRUNING)
        assert SECRET not in str(refused.value)


def test_serve_refuses_a_wrong_password_in_one_line_that_does_not_have_it(restricted):
    with ServeProcess(url_of(restricted, f"{USER}:{SECRET}@")) as server:
        assert server.process.wait(240) == 2
        server.wait_for("refuses this user and password")
        assert len(server.lines) == 1
        assert SECRET not in server.lines[0]


def test_a_redis_that_answers_is_not_asked_whether_it_runs(tmp_path, quick):
    with RedisServer(tmp_path) as server:
        server.configure(maxmemory=server.client().info("memory")["used_memory"])
        with pytest.raises(StoreUnavailable, match="out of memory: raise its maxmemory") as refused:
            connect(server.url, "no", N, PRUNING)
        assert "check the address" not in str(refused.value)
        server.kill()
        with pytest.raises(StoreUnavailable, match="check the address, and that the server is running"):
            connect(server.url, "no", N, PRUNING)


def test_rights_that_are_too_few_are_named(tmp_path, quick):
    with RedisServer(tmp_path) as server:
        server.client().acl_setuser(
            "few", enabled=True, passwords="+x", keys="sadp_dist:*", commands=["+info", "+select", "+get"]
        )
        with pytest.raises(UsageError, match="the Redis user at redis://.* may not do .*docker/redis.conf"):
            connect(url_of(server, "few:x@"), "no", N, PRUNING)


def test_an_address_shows_neither_user_nor_password():
    address = Address.parse(f"redis://someone:{SECRET}@[::1]:7000/2")
    assert str(address) == "redis://[::1]:7000/2"
    assert (address.username, address.password) == ("someone", SECRET)
    assert "someone" not in repr(address) and SECRET not in repr(address)


def test_without_redis_py_one_is_told_what_to_install():
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "from sadp_dist import PruningConfig, connect\n"
        "connect('redis://localhost', 'no', 4, PruningConfig())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
    assert done.stderr.splitlines()[-1].endswith("install it with: pip install 'sadp_dist[redis]'")
