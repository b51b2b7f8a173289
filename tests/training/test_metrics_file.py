"""metrics.jsonl with lines that a crash, an editor or another program left: skipped and counted."""

import pytest
import torch

from sadp_dist.report.run_record import read_run
from sadp_dist.training import parse_config, read_metrics, train
from sadp_dist.training.metrics import parse_metrics
from tests.forked import run_forked
from tests.training.conftest import environment, newest_state
from tests.training.test_resume import epochs_of

NONE = [b"12", b"{}", b"\xff", b"null", b'"text"', b'{"event": "epoch"}', b"\x00\x00", b"[" * 100_000]
UNFINISHED = b'{"event": "epoch", "epoch": 2, "los'


def damage(path):
    """Put a line that is no record before each line, and the rest at the end."""
    lines = path.read_bytes().splitlines()
    mixed = [line for pair in zip(NONE, lines, strict=False) for line in pair] + NONE[len(lines) :]
    path.write_bytes(b"\n".join([*mixed, UNFINISHED]))


def test_resume_and_report_skip_lines_that_are_no_records(recipe, few_digits, arguments):
    raw = recipe(data=few_digits, training={"epochs": 2, "batch_size": 16}, tracking={"trackers": []})
    config = parse_config(raw)
    train(config)
    path, records = config.run_dir / "metrics.jsonl", read_metrics(config.run_dir)
    expected = newest_state(config.run_dir)["network"]
    damage(path)

    assert parse_metrics(config.run_dir) == (records, len(NONE))
    with pytest.warns(UserWarning, match=f"metrics.jsonl: {len(NONE)} lines are no records, skipped"):
        assert read_metrics(config.run_dir) == records
    run = read_run(config.run_dir)
    assert run.finished and len(run.epochs) == 2
    assert f"In metrics.jsonl, {len(NONE)} lines are no records, skipped." in run.notes
    reported = run_forked(["-m", "sadp_dist", "report", config.run_dir], env=environment())
    assert reported.returncode == 0, reported.stderr

    done = run_forked([*arguments(raw), "--resume"], env=environment())
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"warning: {path}: {len(NONE)} lines are no records, skipped") == 1
    assert epochs_of(raw) == records[:2] and len(path.read_bytes().splitlines()) == 3
    got = newest_state(config.run_dir)["network"]
    assert all(torch.equal(expected[key], got[key]) for key in expected)


def test_a_run_whose_records_are_gone_is_resumed(recipe, few_digits):
    config = parse_config(recipe(data=few_digits, training={"epochs": 1, "batch_size": 16}))
    train(config)
    (config.run_dir / "metrics.jsonl").write_bytes(b"12\n")
    (config.run_dir / "data.json").write_text("12")
    assert train(config, "resume")["event"] == "end"
    assert read_metrics(config.run_dir)[-1]["event"] == "end"
