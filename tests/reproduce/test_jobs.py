"""Runs are named by what is in them, and can be trained by hand."""

import dataclasses
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sadp_dist.cli.main import app
from sadp_dist.errors import UsageError
from sadp_dist.reproduce import EXPERIMENTS
from sadp_dist.training.config_file import load_config


def names(setting, *experiments):
    return [{job.name for job in EXPERIMENTS[name].jobs(setting)} for name in experiments]


def test_tables_share_the_runs_that_are_the_same(imagined):
    three, five, six, seven, figure6 = names(imagined, "table3", "table5", "table6", "table7", "figure6")
    assert len(three & six) == 2 * 3  # SADP at 70 and 90 %, three seeds
    assert len(three & seven) == 3  # SADP at 50 %
    assert len(three & five) == 3 + 5 * 3  # full data, and all methods at 90 %
    assert figure6 <= seven
    assert len(three) == (1 + 6 * 4) * 3


def test_a_name_tells_a_run_by_all_of_its_configuration_but_where_it_is(imagined):
    job = EXPERIMENTS["table7"].jobs(imagined)[0]
    others = [
        dataclasses.replace(job, overrides={**job.overrides, "training.weight_decay": 0.1}),
        dataclasses.replace(job, overrides={**job.overrides, "pruning.ratio": 0.45}),
        dataclasses.replace(job, seed=7),
        dataclasses.replace(job, after=job),
        dataclasses.replace(job, data={"train": "noisy-train.beton", "test": "noisy-test.beton"}),
    ]
    assert len({job.name, *(other.name for other in others)}) == 6
    moved = {split: f"/elsewhere/{Path(file).name}" for split, file in job.data.items()}
    elsewhere = dataclasses.replace(job, runs=job.runs / "elsewhere", data=moved)
    assert elsewhere.name == job.name
    assert others[2].name.removesuffix("7") == job.name.removesuffix("0")


def test_the_command_of_a_run_is_the_run(imagined):
    for experiment in ("table4", "table6", "figure1"):
        for job in EXPERIMENTS[experiment].jobs(imagined):
            program, command, file, *overrides, last = shlex.split(job.command)
            assert (program, command, last) == ("sadp-dist", "train", "--resume")
            assert load_config(file, overrides) == job.config


def test_the_second_step_begins_with_the_weights_of_the_first(imagined):
    first, second, *_ = EXPERIMENTS["table4"].jobs(imagined)
    assert second.config.network.weights == str(first.run_dir)
    assert (first.depth, second.depth) == (0, 1)


def call(*arguments):
    """The command's exit status, and what it says."""
    done = CliRunner().invoke(app, ["reproduce", *map(str, arguments)])
    return done.exception, done.output


def test_mistakes_are_refused_with_what_is_allowed(imagined):
    where = ["--scale", "small", "--runs", imagined.runs, "--configs", imagined.recipes]
    for arguments, said in (
        (["table99", *where], 'NAME.*table99.*"table3"'),
        (["table3", *where, "--seeds", "0,x"], "distinct integers"),
        (["table3", *where, "--seeds", "1,1"], "distinct integers"),
        (
            ["table3", *where, "--data", imagined.data],
            "holds neither cifar10.zip .* nor cifar-10-python.tar.gz",
        ),
        (["table4", *where, "--data", imagined.data], "holds no tiny-imagenet-10.zip"),
        (["table3", "--configs", imagined.data], "does not exist"),
    ):
        error, _ = call(*arguments)
        assert isinstance(error, UsageError), (arguments, error)
        with pytest.raises(UsageError, match=said):
            raise error


def test_the_list_has_the_command_of_every_run_that_is_not_done(imagined, write_runs):
    jobs = EXPERIMENTS["figure4"].jobs(imagined)
    write_runs(jobs[:1], lambda job: {})
    for path in {path for job in jobs for path in job.data.values()}:
        (imagined.runs / "data").mkdir(exist_ok=True)
        open(path, "w").close()
    where = ["--scale", "small", "--runs", imagined.runs, "--configs", imagined.recipes]
    error, output = call("figure4", *where, "--list")
    assert error is None
    assert output.splitlines() == [job.command for job in jobs[1:]]
