"""`sadp-dist plan` measures real steps, and what it writes can be trained."""

import re

import pytest
import yaml
from typer.testing import CliRunner

from sadp_dist.cli.main import app
from sadp_dist.training import parse_config
from sadp_dist.training.dry_run import dry_run


def call(*arguments):
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


@pytest.fixture
def config(tmp_path, recipe, few_digits):
    sections = recipe(
        name="mine",
        data=few_digits,
        network={"name": "small_cnn", "time_steps": 2},
        training={"epochs": 5, "batch_size": 16},
    )
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(sections))
    return file


def test_it_measures_and_writes_a_run_that_starts(config, tmp_path):
    out = tmp_path / "faster.yaml"
    done = call(config, "--target-time", 0.6, "--seconds", 0, "--out", out)
    assert done.exit_code == 0, done.output
    rows = re.findall(r"^ +(\d) +(\d x \d) +(not possible|[\d.]+)", done.output, re.M)
    assert [row[:2] for row in rows] == [("2", "8 x 8"), ("1", "8 x 8"), ("1", "6 x 6"), ("1", "4 x 4")]
    assert all(float(row[2]) > 0 for row in rows)
    head, *_ = out.read_text().splitlines()
    share = float(head.rsplit(": ", 1)[1].split()[0])
    assert head.startswith(f"# sadp-dist plan {config} --target-time 0.6: ") and share <= 0.6
    planned = dry_run(parse_config(yaml.safe_load(out.read_text())))
    assert planned.config.name == "mine-planned" and planned.time_saved > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "faster.yaml",
        "mine.yaml",
    ]  # and nothing else


def test_what_a_network_cannot_do_is_said_and_not_proposed(config):
    done = call(config, "network.neuron.kind=psn", "--target-time", 0.95, "--seconds", 0)
    assert done.exit_code == 0, done.output
    assert re.search(r"^ +1 +8 x 8 +not possible", done.output, re.M)
    assert "training.curriculum: time_steps=1 is not possible here: " in done.output
    assert re.search(r"^ +2 +6 x 6 +[\d.]+", done.output, re.M)  # sizes are tried with the steps that it has
    assert "curriculum: []" in done.output and "ratio: 0.05" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target-time", 1], "--target-time 1: must be a share"),
        (["--target-time", 0.001, "--seconds", 0], "--target-time 0.001: the shortest run"),
        (["--out", "nowhere/x.yaml"], "--out nowhere/x.yaml: the folder nowhere does not exist"),
        (["training.batch_size=200", "--seconds", 0], r"measuring a step takes at least 4 batches"),
    ],
)
def test_mistakes_are_refused_in_one_line(config, arguments, said):
    done = call(config, *arguments)
    assert done.exit_code != 0 and said in str(done.exception)
