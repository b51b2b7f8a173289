"""What `doctor` says of a run's configuration and of .beton files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sadp_dist.loading import write_beton
from tests.doctor.command import Answer, doctor, may_mount, with_mounts

CHECKS = ("configuration", "processes", "data", "network", "checkpoints")


@pytest.fixture(scope="module")
def folder(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """test.beton, the 355 test digits, and run.yaml, a run on them."""
    folder = tmp_path_factory.mktemp("doctor")
    write_beton(digits, folder / "test.beton", "test", workers=1)
    (folder / "run.yaml").write_text(
        f"name: run\noutput: {folder}/out\n"
        f"data: {{train: {folder}/test.beton, test: {folder}/test.beton, image_size: 8}}\n"
        "training: {epochs: 1, batch_size: 64}\n"
    )
    return folder


def look_at(folder: Path, *arguments: str, only: tuple[str, ...] = CHECKS, inside: str = "") -> Answer:
    return doctor(folder / "run.yaml", *arguments, only=only, inside=inside)


@pytest.mark.slow
def test_a_run_that_can_start_is_well(folder):
    options = ["--nproc-per-node", "2", "--store", "memory:", "--beton", str(folder / "test.beton")]
    answer = look_at(folder, *options, only=(*CHECKS, "ffcv", ".beton"))
    assert set(answer.states.values()) == {"ok"}, answer.found
    assert answer.status == 0
    assert "355 training examples of 10 classes" in answer.found["data"]
    assert "2 on cpu, 32 examples per process" in answer.found["processes"]
    assert "small_cnn" in answer.found["network"]
    assert answer.found[".beton"].endswith("test.beton: 355 images of 8 x 8, 10 classes")
    assert not (folder / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "check", "expected"),
    [
        ("training.batch_size=31", "processes", "must be a multiple of 2"),
        ("data.image_size=32", "data", "has images of 8 x 8"),
        ("output=/proc/run", "checkpoints", "0 MiB free at /proc, 2 MiB needed"),
    ],
)
def test_what_a_run_lacks_is_broken_and_what_needs_it_is_not_looked_at(folder, override, check, expected):
    answer = look_at(folder, override, "--nproc-per-node", "2")
    assert answer.status == 1
    assert answer.states[check] == "broken"
    assert expected in answer.found[check]
    assert answer.mend[check]
    later = CHECKS[CHECKS.index(check) + 1 :]
    assert all(answer.states[name] == "skipped" for name in later)


def test_an_extra_that_the_run_needs_is_broken_where_it_is_missing(folder, tmp_path):
    (tmp_path / "ffcv.py").write_text("raise ImportError('not here')")
    assert doctor(only=("ffcv",), PYTHONPATH=str(tmp_path)).states == {"ffcv": "warning"}
    needed = doctor(folder / "run.yaml", only=("ffcv",), PYTHONPATH=str(tmp_path))
    assert (needed.status, needed.states) == (1, {"ffcv": "broken"})


@may_mount
def test_workers_that_need_more_shared_memory_than_there_is(folder):
    small = with_mounts("mount -t tmpfs -o size=1m tmpfs /dev/shm")
    overrides = ["data.loader=torch", "data.workers=4", "data.image_size=64"]
    answer = look_at(folder, *overrides, only=("shared memory",), inside=small)
    assert answer.states == {"shared memory": "broken"}
    assert "the batches of this run's workers need 6 MiB" in answer.found["shared memory"]


def test_a_beton_that_is_cut_short(folder):
    whole = (folder / "test.beton").read_bytes()
    (folder / "cut.beton").write_bytes(whole[: len(whole) // 2])
    answer = doctor("--beton", folder / "test.beton", "--beton", folder / "cut.beton", only=(".beton",))
    assert (answer.status, answer.states) == (1, {".beton": "broken"})
    assert "cut.beton" in answer.found[".beton"]
    assert "sadp-dist beton SOURCE" in str(answer.mend[".beton"])


def test_a_mistake_in_the_configuration_is_one_line_and_exit_2(folder):
    answer = look_at(folder, "pruning.ration=0.5")
    assert answer.status == 2
    assert 'did you mean "ratio"?' in answer.printed
    assert answer.printed.count("\n") == 1
