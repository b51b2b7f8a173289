"""What the launch scripts make of their variables, and what they refuse."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.launch.conftest import ROOT

SCRIPTS = sorted([*(ROOT / "launch").glob("*.sh"), *(ROOT / "launch").glob("*.sbatch")])


def test_shellcheck_has_nothing_to_say():
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck on this machine (apt-get install shellcheck)")
    assert len(SCRIPTS) >= 5
    done = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("variables", "command"),
    [
        ({}, "--nnodes 1 --nproc-per-node 1 --max-restarts 0 --standalone -m sadp_dist train c.yaml seed=1"),
        (
            {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "192.0.2.77", "ADDRESS": "192.0.2.78"},
            "--nnodes 2 --nproc-per-node 1 --max-restarts 0 --node-rank 1 --master-addr 192.0.2.77 "
            "--master-port 29400 -m sadp_dist train c.yaml seed=1",
        ),
        (
            {"NNODES": "1:4", "NPROC": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29477"}
            | {"ADDRESS": "192.0.2.78", "JOB_ID": "j", "RDZV_CONF": "last_call_timeout=5"},
            "--nnodes 1:4 --nproc-per-node 2 --max-restarts 10 --rdzv-backend c10d "
            "--rdzv-endpoint 127.0.0.1:29477 --rdzv-id j "
            "--rdzv-conf is_host=true,read_timeout=600,last_call_timeout=5 --local-addr 192.0.2.78 "
            "-m sadp_dist train c.yaml seed=1 --resume",
        ),
        ({"MAX_RESTARTS": "3"}, "--max-restarts 3 --standalone -m sadp_dist train c.yaml seed=1 --resume"),
    ],
    ids=["one node", "static", "elastic", "restarts"],
)
def test_torchrun_is_given_what_the_variables_say(script, variables, command):
    if "MASTER_ADDR" in variables and shutil.which("ip") is None:
        pytest.skip("no ip on this machine")
    done = script("torchrun.sh", "c.yaml", "seed=1", DRY_RUN="1", **variables)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.replace("\\", "").splitlines()
    assert line.startswith("$ env OMP_NUM_THREADS=1 TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 ")
    assert line.endswith(command)


def test_what_the_network_needs_is_set_for_every_rank(script):
    done = script("torchrun.sh", "c.yaml", DRY_RUN="1", INTERFACE="ib0")
    assert " GLOO_SOCKET_IFNAME=ib0 NCCL_SOCKET_IFNAME=ib0 torchrun " in done.stdout


@pytest.mark.parametrize("name", ["torchrun.sh", "ray_job.sh", "slurm.sbatch"])
def test_no_password_is_printed(script, name):
    done = script(name, "c.yaml", "store.url=redis://me:secret@host/0", "seed=1", DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    assert "store.url=redis://***@host/0 seed=1" in done.stdout
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "variables", "said"),
    [
        ("torchrun.sh", {"NNODES": "many"}, "NNODES=many must be a number of nodes, such as 4, or MIN:MAX"),
        ("torchrun.sh", {"NNODES": "4:1"}, "NNODES=4:1 must be a number of nodes, such as 4, or MIN:MAX"),
        ("torchrun.sh", {"NPROC": "0"}, "NPROC=0 must be a number of at least 1"),
        ("torchrun.sh", {"MAX_RESTARTS": "-1"}, "MAX_RESTARTS=-1 must be a number of at least 0"),
        ("torchrun.sh", {"NNODES": "2"}, "NNODES=2 needs MASTER_ADDR; set it to the name or address"),
        (
            "torchrun.sh",
            {"NNODES": "2", "MASTER_ADDR": "no.invalid"},
            "MASTER_ADDR=no.invalid cannot be reached",
        ),
        (
            "torchrun.sh",
            {"NNODES": "1:2", "MASTER_ADDR": "127.0.0.1", "ADDRESS": "192.0.2.78", "NODE_RANK": "0"},
            "NODE_RANK=0 needs a fixed NNODES and MAX_RESTARTS=0",
        ),
        (
            "torchrun.sh",
            {"NNODES": "2", "MASTER_ADDR": "127.0.0.1", "ADDRESS": "192.0.2.78", "NODE_RANK": "2"},
            "NODE_RANK=2 must be below NNODES=2",
        ),
        (
            "torchrun.sh",
            {"VENV": "/no/such"},
            "torchrun is not on the PATH with VENV=/no/such; install it with:",
        ),
        (
            "slurm.sbatch",
            {},
            "this is not a Slurm job; submit it with sbatch launch/slurm.sbatch CONFIG.yaml",
        ),
        ("slurm.sbatch", {"DRY_RUN": "1", "PROJECT": "/"}, "PROJECT=/ has no launch/torchrun.sh"),
        (
            "torchrun.sh",
            {"NNODES": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "70000"},
            "MASTER_PORT=70000 must be at most 65535",
        ),
        (
            "slurm.sbatch",
            {"DRY_RUN": "1", "MASTER_PORT": "x"},
            "MASTER_PORT=x must be a port from 1 to 65535",
        ),
        (
            "slurm.sbatch",
            {"DRY_RUN": "1", "REDIS": "1", "MASTER_PORT": "60000"},
            "REDIS_PORT=70000 must be a port from 1 to 65535",
        ),
        ("ray_job.sh", {"GPU": "two"}, "GPU=two must be 0 or 1"),
    ],
)
def test_what_cannot_be_is_one_line(script, name, variables, said):
    done = script(name, "c.yaml", **{"PATH": "/usr/bin:/bin", **variables})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{name}: {said}")


@pytest.mark.parametrize("name", ["torchrun.sh", "ray_job.sh", "slurm.sbatch"])
def test_without_arguments_they_say_what_they_need(script, name):
    done = script(name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{name}: CONFIG.yaml is missing; usage:")


def test_a_job_that_restarts_does_not_begin_anew_each_time(script):
    done = script("torchrun.sh", "c.yaml", "--overwrite", DRY_RUN="1", MAX_RESTARTS="1")
    assert done.returncode == 2
    assert done.stderr.startswith("torchrun.sh: --overwrite needs MAX_RESTARTS=0")


@pytest.mark.slow
def test_what_cannot_start_is_said_in_one_line_before_the_ranks_start(script, recipe):
    done = script("torchrun.sh", recipe, "data.train=nowhere")
    assert done.returncode == 2
    assert done.stdout.startswith("$ env ")
    (line,) = done.stderr.splitlines()
    assert line.startswith("sadp-dist: data.train='nowhere' does not exist")
