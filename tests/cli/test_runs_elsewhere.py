"""The commands that look at runs in a store elsewhere, as typed at a shell, over a real Redis."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from sadp_dist import PruningConfig, connect
from tests.cli.terminal import at_a_terminal
from tests.cli.test_commands import refused, sadp_dist_command
from tests.ports import free_port
from tests.store.redis_server import RedisServer

pytestmark = pytest.mark.slow
N = 1000
PRUNING = PruningConfig(ratio=0.5, epochs=4, min_probability=0.2)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def training(server):
    """A run that has planned an epoch and goes on, in which example i has the score i, and 3 none."""
    with connect(server.url, "digits", N, PRUNING) as store:
        indices = np.delete(np.arange(N), 3)
        store.push(indices, indices.astype(np.float32), epoch=0)
        store.plan(1)
        store.record(1, {"loss": 0.25, "seconds": 12.0, "test_accuracy": 0.875})
        yield store


def test_stats_and_top_are_those_of_the_run_as_it_stands(server, training):
    training.push([3], [5e3], epoch=1)
    training.flush()
    done = sadp_dist_command("stats", "--store", server.url, "--run", "digits", "--json")
    assert done.returncode == 0, done.stderr
    figures, ours = json.loads(done.stdout), training.stats().to_dict()
    for changing in ("last_snapshot", "planner"):
        assert figures.pop(changing) and ours.pop(changing)
    assert figures == ours
    assert (figures["seen"], figures["pushes"], figures["subset_size"]) == (N, 2, 500)
    done = sadp_dist_command("top", "--store", server.url, "--run", "digits", "-k", 2, "--json")
    assert json.loads(done.stdout) == [{"index": 3, "score": 5000.0}, {"index": 999, "score": 999.0}]


def test_the_table_shows_every_figure(server, training):
    table = sadp_dist_command("stats", "--store", server.url, "--run", "digits").stdout
    assert max(map(len, table.splitlines())) <= 120
    assert len(table.splitlines()) <= 24  # all of it fits on a terminal
    cells = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()]
    shown = {name: value for row in cells for name, value in zip(row[::2], row[1::2], strict=False)}
    stats = training.stats()
    assert shown["dataset size N"] == "1,000"
    assert shown["subset size S"] == shown["drawn"] == "500"
    assert shown["pruning ratio r"] == "0.5"
    assert shown["capped at p = 1"] == str(stats.capped)
    assert shown["floor of p"] == "0.1"  # 0.2 S / N
    assert shown["noise ratio η"] == "-"  # no epoch before this one was planned and then scored
    assert shown["smoothing γ"] == f"{stats.gamma:.6g}"
    assert shown["largest weight"] == f"{stats.largest_weight:.6g}"
    assert shown["effective sample size"] == f"{stats.effective_sample_size:.6g}"
    assert ["score", *(f"{value:.4g}" for value in stats.score_quantiles.values())] in cells
    assert ["staleness", *(f"{value:.4g}" for value in stats.staleness_quantiles.values())] in cells
    assert "██" in table
    assert shown["mean staleness"] == f"{stats.staleness_mean:.6g}"
    assert shown["bad frames"] == shown["rejected pushes"] == "0"
    assert shown["ranks waited for"] == "none"
    assert shown["ranks at epoch"] == "2"
    assert (shown["loss"], shown["test accuracy"]) == ("0.25 at epoch 2", "0.875 at epoch 2")
    assert shown["planner"] == stats.planner
    assert shown["last snapshot"].endswith(" s ago")
    assert {"seen", "unseen", "scores pushed", "received", "memory"} <= set(shown)


def test_a_watched_run_is_seen_to_go_on_over_one_connection(server, training):
    before = training.stats().pushes
    with at_a_terminal("stats", "--store", server.url, "--run", "digits", "--watch") as (process, screen):
        screen.wait_for("dataset size N")
        screen.wait_for("score, log scale; scores of 0: 1")  # the last line
        with server.client() as client:
            served = client.info("stats")["total_connections_received"]
            training.push([1], [1.0], epoch=3)
            training.flush()
            screen.wait_for(rf"in {before + 1} pushes")
            assert client.info("stats")["total_connections_received"] == served
        process.send_signal(signal.SIGINT)
        assert screen.exit_status(process) == 130


def test_runs_lists_what_there_is_and_rm_removes_one_if_one_says_so(server, training):
    connect(server.url, "finished", 7, PruningConfig(method="random", ratio=0.3)).close()
    listed = json.loads(sadp_dist_command("runs", "--store", server.url, "--json").stdout)
    rows = {row["run"]: row for row in listed}
    assert set(rows) == {"digits", "finished"}
    assert (rows["finished"]["dataset_size"], rows["finished"]["method"]) == (7, "random")
    assert (rows["digits"]["dataset_size"], rows["digits"]["epoch"]) == (N, 1)
    assert (rows["digits"]["state"], rows["digits"]["epochs"]) == ("running", training.stats().epochs)
    assert rows["finished"]["state"] == "stopped"
    table = sadp_dist_command("runs", "--store", server.url).stdout
    assert f"2 of {training.stats().epochs}" in table and "running" in table and "stopped" in table
    assert "digits" in table and "finished" in table and "1,000" in table

    remove = ("rm", "--store", server.url, "--run")
    assert "add --yes" in refused(sadp_dist_command(*remove, "finished"))
    assert answered(b"n\n", *remove, "finished") == 1
    assert "finished" in sadp_dist_command("runs", "--store", server.url).stdout
    assert answered(b"y\n", *remove, "finished") == 0
    line = refused(sadp_dist_command(*remove, "finished", "--yes"))
    assert line == "sadp-dist: --run 'finished' does not exist; the store holds digits\n"


def answered(answer: bytes, *arguments: str) -> int:
    """The exit status of a command on whose terminal somebody answers."""
    with at_a_terminal(*arguments) as (process, screen):
        screen.wait_for(r"\[y/N\]")
        os.write(screen.terminal, answer)
        return screen.exit_status(process)


def test_a_run_that_is_not_there_is_a_line_with_those_that_are(server, training):
    line = refused(sadp_dist_command("stats", "--store", server.url, "--run", "nothing"))
    assert "nothing" in line and "digits" in line
    line = refused(sadp_dist_command("top", "--store", server.url))
    assert "needs --run NAME; the store holds digits" in line


OWN_RULE = """
from sadp_dist.selection import Rule, register
import numpy as np

@register("own")
class Own(Rule):
    def probabilities(self, table, subset_size, epoch):
        return np.full(len(table), subset_size / len(table))
"""
OWN_RUN = """
import sys, own_rule
from sadp_dist import PruningConfig, connect
with connect(sys.argv[1], "own", 10, PruningConfig(method="own", epochs=4), planner="server") as store:
    store.push([3], [7.0], epoch=0)
    print(len(store.plan(1).indices))
"""


def test_a_run_with_a_rule_of_your_own_is_planned_and_read_with_imports(server, tmp_path):
    (tmp_path / "own_rule.py").write_text(OWN_RULE)
    begun = subprocess.Popen(
        [sys.executable, "-c", OWN_RUN, server.url], cwd=tmp_path, stdout=subprocess.PIPE
    )
    serve = [sys.executable, "-m", "sadp_dist", "serve", "--store", server.url, "--run", "own"]
    try:
        with subprocess.Popen(serve, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as stranger:
            line = next(line for line in stranger.stdout if "not known here" in line)
            assert "with --imports MODULE" in line and "sadp-dist rm" not in line
            stranger.terminate()
        with subprocess.Popen([*serve, "--imports", "own_rule"], cwd=tmp_path) as planner:
            assert begun.communicate(timeout=240)[0] == b"5\n"
            planner.terminate()
    finally:
        begun.kill()
    question = ("stats", "--store", server.url, "--run", "own", "--json")
    done = sadp_dist_command(*question, cwd=tmp_path)
    assert done.returncode == 1
    assert 'the pruning rule "own", which is not known here' in done.stderr and done.stderr.count("\n") == 1
    done = sadp_dist_command(*question, "--imports", "own_rule", cwd=tmp_path)
    assert json.loads(done.stdout)["seen"] == 1


def test_a_store_that_cannot_be_reached_is_one_line_without_the_password():
    url = f"redis://me:secret@127.0.0.1:{free_port()}/0"
    done = sadp_dist_command("runs", "--store", url)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot be reached" in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert "secret" not in refused(sadp_dist_command("runs", "--store", "redsi://me:secret@host"))
