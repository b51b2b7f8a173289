"""What `doctor` says of a Python and a machine on which something is wrong."""

from __future__ import annotations

import importlib.metadata
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from sadp_dist.doctor import CHECKS, PACKAGES, Check, DoctorOptions, Status, run_checks
from tests.doctor.command import doctor, may_mount, run, with_mounts

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_here_everything_works():
    answer = doctor()
    assert answer.status == 0, answer.printed
    assert "broken" not in answer.states.values()
    assert set(answer.states) == {check.name for check in CHECKS if check.applies(DoctorOptions())}
    for package in PACKAGES:
        assert answer.states[package.name] == "ok", answer.found[package.name]
        assert all(importlib.metadata.version(name) in answer.found[package.name] for name in package.parts)
    assert not any(answer.mend[name] for name, state in answer.states.items() if state == "ok")


def test_every_check_says_what_it_means_and_how_to_mend_it():
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    for number, check in enumerate(CHECKS):
        assert check.meaning.endswith(".")
        assert check.mending
        assert set(check.needs) <= set(names[:number]), f"{check.name} looks before what it needs"


def test_every_package_that_pyproject_names_is_looked_at():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {package.extra for package in PACKAGES} - {None}
    assert f"sadp_dist[{','.join(sorted(extras))}]" in project["optional-dependencies"]["all"]
    named = {extra: project["optional-dependencies"][extra] for extra in extras}
    named[None] = project["dependencies"]
    said_by_the_command_line_itself = {"rich", "typer", "packaging"}
    for extra, requirements in named.items():
        wanted = {
            requirement.split(">")[0].split("=")[0].split("[")[0].lower() for requirement in requirements
        }
        looked_at = {name.lower() for package in PACKAGES if package.extra == extra for name in package.parts}
        assert wanted - said_by_the_command_line_itself == looked_at


@pytest.mark.slow
def test_with_a_torch_that_does_not_import_the_rest_is_looked_at(tmp_path):
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file')")
    answer = doctor(PYTHONPATH=str(tmp_path))
    assert answer.status == 1
    assert answer.states["torch"] == "broken"
    assert "libcudart.so.13" in answer.found["torch"]
    assert "pip install" in str(answer.mend["torch"])
    for name in ("torchvision", "spikingjelly", "ffcv", "GPUs"):
        assert answer.states[name] == "skipped"
        assert "torch" in answer.found[name]
    for name in ("numba", "redis", "shared memory", "compiled code"):
        assert answer.states[name] == "ok"


def test_a_package_that_crashes_is_a_finding_and_the_next_one_is_looked_at(tmp_path):
    (tmp_path / "pyarrow").mkdir()
    (tmp_path / "pyarrow" / "__init__.py").write_text("import os; print('noise', flush=True); os.abort()")
    answer = doctor(only=("parquet", "redis"), PYTHONPATH=str(tmp_path))
    assert answer.status == 1
    assert answer.states == {"parquet": "broken", "redis": "ok"}
    assert "SIGABRT" in answer.found["parquet"]
    assert "noise" not in answer.printed


def test_an_extra_that_does_not_import_is_no_more_than_a_warning(tmp_path):
    (tmp_path / "ray.py").write_text("raise ImportError('not here')")
    answer = doctor(only=("ray",), PYTHONPATH=str(tmp_path))
    assert (answer.status, answer.states) == (0, {"ray": "warning"})
    needed = doctor("--store", "ray:auto", only=("ray", "Ray cluster"), PYTHONPATH=str(tmp_path))
    assert (needed.status, needed.states) == (1, {"ray": "broken", "Ray cluster": "skipped"})


def test_a_check_that_hangs_is_a_finding_and_the_next_one_is_made():
    def look(options: DoctorOptions) -> tuple[Status, str]:
        time.sleep(240)
        return Status.OK, ""

    hangs, ends = (
        Check(name, "It waits.", "Do not.", then, lambda options: True, patience=patience)
        for name, then, patience in (
            ("hangs", look, 0.5),
            ("ends", lambda options: (Status.OK, "it did"), 240.0),
        )
    )
    found = list(run_checks(DoctorOptions(), [hangs, ends, hangs]))
    assert [finding.state for finding in found] == ["broken", "ok", "broken"]
    assert found[0].found == "does not finish within 0.5 s"
    assert found[0].mend == "Do not."


def test_what_a_check_did_not_expect_is_said_without_its_text():
    def look(options: DoctorOptions) -> tuple[Status, str]:
        raise ValueError("redis://user:hunter2@host")

    (finding,) = run_checks(
        DoctorOptions(), [Check("surprise", "It fails.", "Mend it.", look, lambda options: True)]
    )
    assert finding.state is Status.BROKEN
    assert "ValueError at test_machine.py" in finding.found
    assert "hunter2" not in finding.found


@may_mount
def test_a_small_dev_shm_and_a_full_folder_for_temporary_files(tmp_path):
    mounts = with_mounts(
        "mount -t tmpfs -o size=64m tmpfs /dev/shm", f"mount -t tmpfs -o size=1m tmpfs {tmp_path}"
    )
    answer = doctor(only=("shared memory", "temporary files"), inside=mounts, TMPDIR=str(tmp_path))
    assert answer.status == 0
    assert answer.states == {"shared memory": "warning", "temporary files": "warning"}
    assert "64 MiB free of 64 MiB" in answer.found["shared memory"]
    assert "--shm-size" in str(answer.mend["shared memory"])
    assert "1 MiB free" in answer.found["temporary files"]


@pytest.mark.parametrize(("limit", "state"), [(50, "broken"), (500, "warning"), (1024, "ok")])
def test_few_open_files(limit, state):
    answer = doctor(only=("open files",), inside=f"ulimit -n {limit}")
    assert answer.states == {"open files": state}
    assert (answer.mend["open files"] is None) == (state == "ok")
    assert f"{limit:,}" in answer.found["open files"]


@may_mount
def test_a_package_and_a_home_that_cannot_be_written_to(tmp_path):
    package = ROOT / "sadp_dist"
    read_only = with_mounts(f"mount --bind {package} {package}", f"mount -o remount,bind,ro {package}")
    nowhere = {"HOME": "/proc", "XDG_CACHE_HOME": "/proc"}
    answer = doctor(only=("compiled code",), inside=read_only, PYTHONDONTWRITEBYTECODE="1", **nowhere)
    assert answer.states == {"compiled code": "broken"}
    assert "no locator available" in answer.found["compiled code"]
    mended = doctor(only=("compiled code",), inside=read_only, NUMBA_CACHE_DIR=str(tmp_path), **nowhere)
    assert mended.states == {"compiled code": "ok"}
    assert str(tmp_path) in mended.found["compiled code"]


@may_mount
def test_a_library_of_ffcv_that_is_broken():
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    library = next(line.split()[-1] for line in listed.splitlines() if "libturbojpeg.so.0 " in line)
    mounts = with_mounts(f"mount --bind /dev/null {library}")
    answer = doctor(only=("ffcv",), inside=mounts)
    assert answer.states == {"ffcv": "warning"}
    assert "libturbojpeg" in answer.found["ffcv"]
    assert "apt-get install" in str(answer.mend["ffcv"])


def test_lines_for_people_name_the_state_the_check_and_how_to_mend_it():
    done = run("--only", "open files", "--only", "clock", inside="ulimit -n 50")
    assert done.returncode == 1
    assert "broken  open files: at most 50" in done.stdout
    assert "to fix: `ulimit -n 65536`" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 ok, 1 broken"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--only", "clocks"], "--only 'clocks' is not a check; choose from: Python, "),
        (["--only", "Redis memory"], "--only: these checks need CONFIG.yaml, --store or --beton"),
        (["nowhere.yaml"], "configuration nowhere.yaml does not exist"),
        (["--store", "http://user:hunter2@host"], "--store http://***@host is not a store"),
        (["--store", "redis://user:hunter2@host:port"], "has a host or port that cannot be read"),
        (["--beton", "nowhere.beton"], "--beton nowhere.beton does not exist"),
    ],
)
def test_what_is_typed_wrongly_is_one_line_and_exit_2(arguments, expected):
    done = run(*arguments)
    assert done.returncode == 2, done.stdout
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stdout + done.stderr
