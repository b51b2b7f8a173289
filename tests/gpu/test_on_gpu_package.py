"""What has a branch for GPUs, but no check in the self-test."""

import os
import subprocess
import sys

import pytest
import torch

from sadp_dist.doctor import CHECKS, DoctorOptions, Status
from sadp_dist.doctor.configuration import _processes
from sadp_dist.reproduce.job_runner import _begin
from sadp_dist.reproduce.output import _machine
from sadp_dist.reproduce.step_costs import step_cost
from sadp_dist.selftest.images import generated, run_config
from sadp_dist.selftest.loaders import Pictures
from sadp_dist.selftest.scores import compared
from sadp_dist.selftest.step import Step
from sadp_dist.training import train
from sadp_dist.training.device_sums import DeviceSums
from sadp_dist.training.dry_run import dry_run
from sadp_dist.training.processes import join_job

SIDE = 16


@pytest.fixture
def config(tmp_path):
    """A run on images in a folder."""
    for split, size in (("train", 128), ("test", 64)):
        pictures = Pictures(generated(size, SIDE, seed=size))
        for index in range(size):
            image, label = pictures[index]
            folder = tmp_path / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{index}.png")
    data = {"train": str(tmp_path), "test": str(tmp_path), "train_split": "train", "test_split": "test"}
    return run_config("gpu", tmp_path / "run", SIDE, data={**data, "loader": "torch", "workers": 0}, seed=0)


def test_the_doctor_finds_the_gpu_and_nccl():
    options = DoctorOptions()
    for check in CHECKS:
        if check.name in ("GPUs", "torch.distributed"):
            state, found, *_ = check.look(options)
            assert state == Status.OK, found
            assert "driver" in found or "NCCL" in found
    assert _processes(options) == torch.cuda.device_count()


def test_a_run_trains_on_the_gpu_that_its_rank_names(config, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    with join_job() as process:
        assert process.device == torch.device("cuda", 0)
    assert train(config, show=False)["test_examples"] == 64


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs, for NCCL")
def test_two_gpus_train_one_run_with_nccl(config, tmp_path):
    import yaml

    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config.to_dict()), encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, "-m", "sadp_dist", "train", file], check=True)


def test_a_dry_run_tells_the_peak_of_the_gpus_memory(config):
    found = dry_run(config)
    assert found.memory is not None and found.memory > 4 * found.parameters


def test_the_cost_of_a_step_is_the_gpus(config):
    cost = step_cost(config)
    assert cost.epoch_seconds > 0 and cost.peak_bytes > 0


def test_a_process_of_reproduce_takes_its_gpu_and_names_it(monkeypatch):
    import queue

    places = queue.Queue()
    places.put(torch.cuda.device_count())  # more runs than GPUs
    monkeypatch.setenv("LOCAL_RANK", "5")
    _begin(places, threads=torch.get_num_threads())
    assert os.environ["LOCAL_RANK"] == "0"
    assert _machine()["gpu"] == torch.cuda.get_device_name()


def test_the_progress_bar_reads_sums_that_have_arrived():
    sums = DeviceSums(2, torch.device("cuda", 0))
    sums.add(torch.tensor(1.0, device="cuda"), torch.tensor(2.0, device="cuda"))
    sums.recent()  # starts a copy
    torch.cuda.synchronize()
    assert sums.recent() == [1.0, 2.0]


def test_compiled_neurons_have_scores():
    sized = {"side": SIDE, "time_steps": 2, "neurons": "inductor"}
    step = Step("small_cnn", 8, {"layers": "all"}, torch.device("cuda", 0), **sized)
    assert compared(step, times=2)["largest relative error"] < 1e-4


def test_the_command_names_the_gpu(tmp_path):
    command = [sys.executable, "-m", "sadp_dist", "selftest", "--gpu", "--only", "machine", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert torch.cuda.get_device_name() in done.stdout
