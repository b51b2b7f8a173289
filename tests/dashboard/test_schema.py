"""Whatever is sent to the API: no answer is an error of the server, and each is as the OpenAPI page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dashboard.process import TOKEN, Dashboard, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(images, tmp_path_factory) -> Path:
    """A folder with the run "digits"."""
    runs = tmp_path_factory.mktemp("runs")
    checkpoint = runs / "digits" / "checkpoints" / "e0003-b000000"
    checkpoint.mkdir(parents=True)
    with train("memory:", "digits", images.labels) as store:
        store.save(checkpoint / "store.npz")
    return runs


# More can be asked about a run that there is than about those that schemathesis thinks of.
@pytest.mark.parametrize(
    ("place", "settings"), [("folder", ""), ("redis", 'parameters."path.run" = "digits"')]
)
def test_any_request_has_an_answer_that_was_promised(
    place, settings, server, training, runs, digits, tmp_path
):
    (tmp_path / "schemathesis.toml").write_text(settings)
    store = server.url if place == "redis" else runs
    arguments = ("--images", digits, "--split", "train")
    with Dashboard(store, *arguments, SADP_DIST_DASHBOARD_TOKEN=TOKEN) as dashboard:
        done = subprocess.run(
            [
                Path(sys.executable).parent / "schemathesis",
                *("run", f"{dashboard.address}/openapi.json"),
                *("--max-examples", "10", "-H", f"Authorization: Bearer {TOKEN}"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Selected: 7/7" in done.stdout
        cases = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
        assert cases is not None and int(cases[2]) > 100
        assert len(dashboard.lines) == 1, dashboard.lines  # no traceback
