"""A disk that is full while a run writes: one line, no leftovers, and --resume continues with more space."""

import resource
import subprocess

import pytest
import torch

from sadp_dist.errors import CannotWrite
from sadp_dist.training import parse_config, read_metrics, train
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.metrics import MetricsLog
from tests.forked import run_forked
from tests.mounted import fill, small_disk
from tests.training.conftest import environment, newest_state

SECTIONS = {
    "training": {"epochs": 3, "batch_size": 16, "checkpoint_every": 2},
    "tracking": {"trackers": []},
}


def filling(save, folder, leave):
    """`Checkpoints.save` that finds the disk full at the third checkpoint."""

    def save_on_a_full_disk(self, process, store, epoch, batch, state):
        if len(self.all()) == 2 and (epoch, batch) == (1, 2):
            fill(folder, leave)
        save(self, process, store, epoch, batch, state)

    return save_on_a_full_disk


@pytest.mark.parametrize("leave", [0, 8192, 40960], ids=["nothing", "for scores in part", "for scores"])
def test_a_full_disk_is_one_line_and_leaves_nothing(recipe, few_digits, tmp_path, monkeypatch, leave):
    straight = parse_config(recipe(name="straight", data=few_digits, **SECTIONS))
    train(straight)
    with small_disk(tmp_path / "small", 8) as small:
        config = parse_config(recipe(data=few_digits, output=f"{small}/run", **SECTIONS))
        with monkeypatch.context() as patch, pytest.raises(CannotWrite) as raised:
            patch.setattr(Checkpoints, "save", filling(Checkpoints.save, small, leave))
            train(config)
        said = str(raised.value)
        checkpoint = config.run_dir / "checkpoints" / "e0001-b000002"
        assert said.startswith(f"the checkpoint {checkpoint} cannot be written (No space left on device): it")
        assert "needs about 1.1 MiB" in said and "and 0.0 MiB are free; mend that, and" in said, said
        assert len(said.splitlines()) == 1
        assert not [path for path in small.rglob("*") if ".tmp-" in path.name]
        (small / "filler").unlink()
        train(config, "resume")
        got, expected = (newest_state(one.run_dir)["network"] for one in (config, straight))
        assert all(torch.equal(expected[key], got[key]) for key in expected)
        assert [record["event"] for record in read_metrics(config.run_dir)] == ["epoch"] * 3 + ["end"]


@pytest.mark.slow
def test_the_command_says_it_in_one_line_with_status_1(recipe, few_digits, arguments, tmp_path):
    with small_disk(tmp_path / "small", 1) as small:
        fill(small, leave=128 * 1024)
        words = arguments(recipe(data=few_digits, output=f"{small}/run", **SECTIONS))
        done = run_forked(words, env=environment())
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("sadp-dist: the checkpoint ") and "No space left on device" in done.stderr


def test_a_limit_of_file_sizes_is_named_as_what_it_is(recipe, few_digits, arguments):
    """`ulimit -f`: writing beyond it raises SIGXFSZ, which Python ignores, and then an error of its own."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, {resource.RLIM_INFINITY}))\n"
    words = arguments(recipe(data=few_digits, **SECTIONS))
    code = f"{limit}import sys; sys.argv = {words[1:]!r}; from sadp_dist.cli.main import main; main()"
    done = run_forked(["-c", code], env=environment())
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "cannot be written (File too large); mend that" in done.stderr


def test_a_record_that_does_not_fit_is_said_and_its_part_is_passed_over(tmp_path):
    with small_disk(tmp_path / "small", 1) as small, MetricsLog(small) as log:
        log.write({"event": "epoch", "epoch": 0})
        filler = fill(small)
        with pytest.raises(CannotWrite, match=r"metrics.jsonl cannot be written \(No space left on device\)"):
            log.write({"event": "epoch", "epoch": 1, "long": "x" * 8192})
        filler.unlink()
        assert [record["epoch"] for record in read_metrics(small)] == [0]


def test_a_command_on_a_full_disk_is_one_line(few_digits, tmp_path):
    with small_disk(tmp_path / "small", 1) as small:
        fill(small)
        words = ["-m", "sadp_dist", "beton", few_digits["train"], small / "x.beton", "--split", "train"]
        done = run_forked(words, env=environment())
        assert done.returncode in (1, 2) and len(done.stderr.splitlines()) == 1, done.stderr
        assert "No space left on device" in done.stderr
        assert subprocess.run(["ls", "-A", small], capture_output=True, text=True).stdout == "filler\n"
