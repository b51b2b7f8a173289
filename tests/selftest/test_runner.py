"""What goes wrong in a check of the self-test is recorded, and the next check runs."""

import json

import pytest

from sadp_dist.selftest import worker
from sadp_dist.selftest.part import Check, Part
from sadp_dist.selftest.runner import run_parts
from tests.selftest import checks


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run parts of such checks, and return the record's checks by name."""
    monkeypatch.setattr(worker, "GRACE", 4.0)  # a busy machine wakes a check late

    def run(*parts, minutes=10.0):
        shown = []
        record = run_parts(
            rehearse=True,
            minutes=minutes,
            data=None,
            out=tmp_path,
            shown=lambda part, check, outcome: shown.append((check, len(read(tmp_path)["checks"]))),
            parts=parts,
        )
        assert [count for _, count in shown] == list(range(1, len(shown) + 1)), "not written after each check"
        assert read(tmp_path) == record
        return {check["name"]: check for check in record["checks"]}

    return run


def read(folder):
    return json.loads((folder / "rehearsal.json").read_text(encoding="utf-8"))


def part(*functions, minutes=5.0, seconds=60.0):
    return Part("a part", minutes, [Check(run.__name__, run, seconds) for run in functions])


@pytest.mark.slow
def test_failures_skips_and_crashes_are_recorded_and_the_next_check_runs(run, tmp_path):
    found = run(part(checks.bad, checks.absent, checks.crashing, checks.good))
    assert [check["state"] for check in found.values()] == ["failed", "skipped", "failed", "ok"]
    assert found["bad"]["reason"] == "ValueError: the scores differ"
    assert "def bad" not in found["bad"]["traceback"] and "checks.py" in found["bad"]["traceback"]
    assert found["absent"]["reason"] == "ffcv is not installed"
    assert "SIGSEGV" in found["crashing"]["reason"] and found["crashing"]["figures"] == {"accuracy": 0.5}
    assert found["good"]["figures"] == {"files": 0}
    assert "ValueError" in (tmp_path / "rehearsal.log").read_text()


@pytest.mark.slow
def test_a_check_that_hangs_is_cut_and_keeps_what_it_reported(run):
    found = run(part(checks.hanging, checks.punctual, seconds=1.0), part(checks.good))
    assert found["hanging"]["state"] == "cut" and found["hanging"]["figures"] == {"epochs": 2}
    assert found["punctual"]["state"] == "ok"
    assert found["good"]["state"] == "ok"


@pytest.mark.slow
def test_a_part_without_time_left_says_so_and_leaves_the_next_part_its_own(run):
    """Of ten minutes the first part gets 0; what a part leaves over goes to the next one."""
    found = run(part(checks.bad, minutes=0.0), part(checks.good))
    assert (found["bad"]["state"], found["bad"]["reason"]) == ("cut", "not run: no time is left")
    assert found["good"]["state"] == "ok"
