"""kill -9 in the middle of an epoch, then --resume: the same weights, bit for bit."""

import os
import shutil
import subprocess
import time
import zipfile
from pathlib import Path

import psutil
import pytest
import torch

from sadp_dist.training import parse_config, read_metrics
from tests.forked import Forked, rank_environments
from tests.training.conftest import environment, newest_state

TIMES = {
    *("seconds", "plan_seconds", "evaluation_seconds", "total_seconds", "images_per_second"),
    *("tracking_seconds", "total_saved_seconds", "resident_bytes"),
}


HELD = Path(__file__).with_name("held.py")


def wait_for_checkpoint_in_epoch(
    checkpoints: Path, epoch: int, process: subprocess.Popen[bytes] | Forked
) -> Path:
    """The first checkpoint within an epoch; it is there while the run goes on."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        found = [p for p in checkpoints.glob(f"e{epoch:04d}-b*") if not p.name.endswith("b000000")]
        if found:
            return found[0]
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.002)
    raise AssertionError("no checkpoint came")


def kill_9(process: subprocess.Popen[bytes] | Forked) -> None:
    """The process and what it has started (torchrun's ranks live in sessions of their own), at once."""
    everyone = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for one in everyone:
        one.kill()
    psutil.wait_procs(everyone)
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_resumes_to_the_same_weights(recipe, arguments, launch, processes):
    sections = {
        "data": {"augment": "crop", "padding": 1, "autoaugment": "cifar10"},
        "training": {
            **{"epochs": 4, "checkpoint_every": 2, "batch_size": 32},
            "curriculum": [{"until": 0.75, "time_steps": 1, "image_size": 6, "augment_strength": 0.5}, {}],
        },
        "network": {"name": "small_cnn_pooled"},
    }
    loader = "ffcv" if processes == 2 else "torch"
    if loader == "ffcv":
        sections["data"]["page_window"] = 1
        sections["pruning"] = {"shard_block": 200}
    straight, killed = (recipe(loader, name=name, **sections) for name in ("straight", "killed"))
    done = launch(straight, processes=processes)
    assert done.returncode == 0, done.stderr

    checkpoints = parse_config(killed).run_dir / "checkpoints"
    ranks = [
        Forked(
            [HELD, 2, *arguments(killed)[2:]],
            env={**environment(), **rank},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in (rank_environments(2) if processes == 2 else [{}])
    ]
    wait_for_checkpoint_in_epoch(checkpoints, 2, ranks[0])
    for rank in ranks:
        kill_9(rank)
    assert len(epochs_of(killed)) == 2, "it was to be killed in the third epoch"

    resumed = launch(killed, "--resume", processes=processes)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming at epoch 3 of 4, batch" in resumed.stdout

    expected, got = newest_state(parse_config(straight).run_dir), newest_state(parse_config(killed).run_dir)
    assert expected["network"].keys() == got["network"].keys()
    for name, tensor in expected["network"].items():
        assert torch.equal(tensor, got["network"][name]), f"{name} differs"
    for one, other in zip(epochs_of(straight), epochs_of(killed), strict=True):
        same = [{key: value for key, value in record.items() if key not in TIMES} for record in (one, other)]
        assert same[0] == pytest.approx(same[1])


def test_resuming_a_finished_run_leaves_it_as_it_is(recipe):
    from sadp_dist.training import train

    config = parse_config(recipe(training={"epochs": 1}))
    train(config)
    before, summary = newest_state(config.run_dir)["network"], read_metrics(config.run_dir)[-1]
    assert summary["test_examples"] == 355
    train(config, "resume")
    assert read_metrics(config.run_dir)[-1] == summary
    assert all(
        torch.equal(before[key], value) for key, value in newest_state(config.run_dir)["network"].items()
    )
    assert [record["event"] for record in read_metrics(config.run_dir)] == ["epoch", "end"]


def flip_a_bit(file: Path) -> None:
    """In the middle of the largest part of a zip archive."""
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
    content = bytearray(file.read_bytes())
    content[largest.header_offset + 200 + largest.file_size // 2] ^= 0x40
    file.write_bytes(content)


DAMAGE = {
    "a bit of the weights": ("state.pt", flip_a_bit, r"data/\d+ in state.pt does not have its checksum"),
    "a bit of the scores": ("store.npz", flip_a_bit, r"\w+.npy in store.npz does not have its checksum"),
    "cut short": ("state.pt", lambda file: os.truncate(file, 1000), r"state.pt cannot be read \(File is not"),
    "not there": ("store.npz", Path.unlink, r"store.npz cannot be read \(No such file or directory\)"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_checkpoint_is_refused_and_the_whole_one_before_it_offered(recipe, few_digits, what):
    from sadp_dist.errors import UsageError
    from sadp_dist.training import train

    name, damage, reason = DAMAGE[what]
    training = {"epochs": 3, "batch_size": 16, "keep_checkpoints": 3}
    config = parse_config(recipe(data=few_digits, training=training))
    train(config)
    expected = newest_state(config.run_dir)["network"]
    first, second, last = sorted((config.run_dir / "checkpoints").iterdir())
    damage(last / name)
    with pytest.raises(UsageError, match=f"{last} is damaged: .*{reason}") as raised:
        train(config, "resume")
    assert str(raised.value).endswith(f"; to resume from {second.name}, which is whole: rm -r {last}")

    flip_a_bit(second / "state.pt")
    with pytest.raises(UsageError, match=f"; to resume from {first.name}, which .*: rm -r {last} {second}$"):
        train(config, "resume")
    before = (first / "state.pt").read_bytes()
    flip_a_bit(first / "state.pt")
    with pytest.raises(UsageError, match="no other one is whole; .* or start again with --overwrite"):
        train(config, "resume")

    (first / "state.pt").write_bytes(before)
    for path in (second, last):
        shutil.rmtree(path)
    train(config, "resume")
    got = newest_state(config.run_dir)["network"]
    assert all(torch.equal(expected[key], got[key]) for key in expected)


@pytest.mark.parametrize("text", [None, "", "name: ["])
def test_a_run_without_a_readable_configuration_is_refused_in_one_line(recipe, text):
    from sadp_dist.errors import UsageError
    from sadp_dist.training import train

    config = parse_config(recipe(training={"epochs": 1}))
    train(config)
    path = config.run_dir / "config.yaml"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UsageError, match="config.yaml .*; use --overwrite") as raised:
        train(config, "resume")
    assert "\n" not in str(raised.value)


def epochs_of(raw):
    return [record for record in read_metrics(parse_config(raw).run_dir) if record["event"] == "epoch"]
