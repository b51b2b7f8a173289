"""The time that pruning saves is one figure, with the same words wherever it is shown; and memory."""

from __future__ import annotations

import os

import psutil
import pytest
from rich.console import Console

from sadp_dist.cli.stats_table import figures_table
from sadp_dist.report.run_record import read_run
from sadp_dist.store import open_snapshot
from sadp_dist.time_saved import SAVED, TOTAL, seconds_saved, time_saved_in_words
from sadp_dist.training import parse_config, read_metrics, train
from sadp_dist.training.memory import resident_bytes


def test_an_epoch_saves_the_time_of_the_examples_left_out_minus_the_cost_of_pruning():
    assert seconds_saved(11.0, 1.0, 500, 1000, usual=0.0) == pytest.approx(10 - 1)
    assert seconds_saved(10.0, 0.5, 1000, 1000, usual=0.0) == pytest.approx(-0.5)  # all examples
    assert seconds_saved(0.5, 0.5, 0, 1000, usual=0.02) == pytest.approx(20 - 0.5)  # an empty epoch


@pytest.mark.parametrize(
    ("saved", "spent", "words"),
    [
        (30.0, 70.0, "about 30.0 s of 100.0 s (30%)"),
        (1800.0, 1800.0, "about 30.0 min of 60.0 min (50%)"),
        (7200.0, 14400.0, "about 2.0 h of 6.0 h (33%)"),
        (-3.0, 70.0, "none, about 3.0 s more than with all examples"),
    ],
)
def test_the_words(saved, spent, words):
    assert time_saved_in_words({SAVED: saved, TOTAL: spent}) == words


@pytest.mark.slow
def test_terminal_report_and_stats_show_the_same_words_and_full_data_has_none(recipe, capsys):
    config = parse_config(recipe(name="pruned"))
    train(config)
    records = [record for record in read_metrics(config.run_dir) if record["event"] == "epoch"]
    words = time_saved_in_words(records[-1])
    assert words is not None and records[-1][SAVED] != records[0][SAVED]
    assert capsys.readouterr().out.splitlines()[-1] == f"time saved: {words}"
    assert f"Time saved: {words}." in read_run(config.run_dir).notes
    view = open_snapshot(config.run_dir)
    before_last = [record for record in view.history() if record.training][-1]
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(figures_table(view.stats().to_dict(), before_last))
    assert str(time_saved_in_words(before_last.training)) in console.export_text()
    for record in records:
        assert 1 << 20 < record["resident_bytes"] < 1 << 40
        assert "gpu_peak_bytes" not in record

    full = parse_config(recipe(name="full", pruning={"method": "full"}))
    train(full)
    assert SAVED not in read_metrics(full.run_dir)[-1]
    assert "time saved" not in capsys.readouterr().out


def test_resident_memory_is_what_the_system_says():
    assert resident_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)
