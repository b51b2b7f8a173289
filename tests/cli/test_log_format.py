"""`--log-format`: every line of a long-running command is a record with time, level and rank."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime

import pytest
import yaml
from PIL import Image

from sadp_dist import PruningConfig, connect
from tests.cli.test_commands import sadp_dist_command
from tests.dashboard.process import Dashboard
from tests.store.redis_server import RedisServer, ServeProcess

TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING|ERROR) rank 0: .*")


@pytest.fixture
def recipe(tmp_path):
    """The file of a run over images of two classes."""
    for number in range(12):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (20 * number, 0, 0)).save(path)
    images = str(tmp_path / "images")
    run = {
        "name": "run",
        "output": str(tmp_path / "runs" / "{name}"),
        "data": {"train": images, "test": images, "loader": "torch", "image_size": 8},
        "network": {"name": "small_cnn", "time_steps": 1},
        "pruning": {"ratio": 0.5},
        "training": {"epochs": 2, "batch_size": 4},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    return tmp_path / "run.yaml"


def records(text: str) -> list[dict[str, object]]:
    found = [json.loads(line) for line in text.splitlines()]
    for record in found:
        assert datetime.fromisoformat(record["time"]).utcoffset().total_seconds() == 0
        assert record["rank"] == 0
    return found


@pytest.mark.slow
def test_training_logs_epochs_and_mistakes_as_json(recipe):
    done = sadp_dist_command("train", recipe, "--log-format", "json")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    said = [(record["level"], record["message"]) for record in records(done.stderr)]
    for epoch in (1, 2):
        assert any(level == "INFO" and f"epoch   {epoch}/2" in message for level, message in said), said
    assert said[-1][1].startswith("time saved: ")

    again = sadp_dist_command("train", recipe, "--log-format", "json")
    assert (again.returncode, again.stdout) == (2, "")
    (refusal,) = records(again.stderr)
    assert refusal["level"] == "ERROR" and "already holds a run" in refusal["message"]


@pytest.mark.slow
def test_serve_and_dashboard_log_text(tmp_path):
    with RedisServer(tmp_path) as server, ServeProcess(server.url, "--log-format", "text") as serve:
        with connect(server.url, "job", 20, PruningConfig(ratio=0.5, epochs=2), planner="server") as store:
            store.plan(0, 0, 1)
        serve.wait_for("epoch 1 of 2")
        with Dashboard(server.url, "--log-format", "text") as dashboard:
            assert dashboard.get("/healthz").status_code == 200
            lines = [*serve.lines, *dashboard.lines]
    assert len(lines) >= 4
    assert [line for line in lines if not TEXT.fullmatch(line)] == []


def test_an_error_that_nobody_expected_is_one_record_with_its_traceback():
    program = (
        "from sadp_dist.cli.log_format import LogFormat, begin; begin(LogFormat.json); raise KeyError('lost')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    (record,) = records(done.stderr)
    assert record["level"] == "CRITICAL" and record["message"] == "KeyError: 'lost'"
    assert "Traceback" in record["traceback"]


def test_another_format_is_refused():
    done = sadp_dist_command("serve", "--store", "redis://localhost", "--log-format", "xml")
    assert done.returncode == 2 and "xml" in done.stderr
