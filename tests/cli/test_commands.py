"""The commands as typed at a shell: what they print, what they exit with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sadp_dist
from sadp_dist import PruningConfig, connect
from sadp_dist.loading import beton_labels, beton_size
from tests.cli.terminal import at_a_terminal
from tests.data.published import cifar_files, write_tar
from tests.forked import run_forked

ROOT = Path(__file__).parents[2]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def sadp_dist_command(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, which has its imports done."""
    return run_forked(["-m", "sadp_dist", *arguments], cwd=cwd, env=ENVIRONMENT)


def started_anew(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as it is typed at a shell, imports and all."""
    command = [sys.executable, "-m", "sadp_dist", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=240)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that exits with 2."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.startswith("sadp-dist: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's directory with a saved store in which example i has the score i, and 3 has none."""
    folder = tmp_path_factory.mktemp("run")
    pruning = sadp_dist.PruningConfig(ratio=0.5, epochs=2)
    store = sadp_dist.connect("memory:", "digits", 100, pruning)
    indices = np.delete(np.arange(100), 3)
    store.push(indices, indices.astype(np.float32), epoch=0)
    store.plan(1)
    (folder / "checkpoints" / "e0001-b000000").mkdir(parents=True)
    store.save(folder / "checkpoints" / "e0001-b000000" / "store.npz")
    return folder


def write_run(folder: Path, digits: Path, training: str) -> None:
    """run.yaml, a run on the 355 test digits that does not need FFCV."""
    splits = f"train: {digits}, test: {digits}, train_split: test, test_split: test"
    (folder / "run.yaml").write_text(
        f"name: run\ndata: {{loader: torch, {splits}, image_size: 8, workers: 0}}\n"
        f"network: {{time_steps: 1}}\ntraining: {training}\n"
    )


def test_help_names_every_command_and_says_how_to_use_it():
    overview = started_anew("--help").stdout
    for command in ("train", "beton", "stats", "top", "report", "export", "doctor"):
        assert command in overview
        text = sadp_dist_command(command, "--help").stdout
        assert "Usage" in text
        assert f"sadp-dist {command} " in text, f"{command} --help shows no example"


def test_help_and_mistakes_do_not_wait_for_torch():
    code = "import sys, sadp_dist.cli.main; sys.exit('torch' in sys.modules or 'ffcv' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "No such command 'trian'"),
        (["train"], "Missing argument 'CONFIG.yaml'"),
        (["train", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["train", "run.yaml", "--resume", "--overwrite"], "exclude each other"),
        (["train", "run.yaml", "pruning.ration=0.5"], 'did you mean "ratio"?'),
        (["train", "run.yaml", "pruning.max_ratio=0.2"], "max_ratio=0.2"),
        (["train", "run.yaml"], "data.train='train.beton' does not exist"),
        (
            ["train", "run.yaml", "network.name=smal_cnn", "data.train=x.beton", "data.test=x.beton"],
            "network.name='smal_cnn' is not known",
        ),
        (["beton", "nowhere", "out.beton"], "'nowhere' does not exist"),
        (["beton", "nowhere", "x.beton", "--dataset", "cifar10"], "--dataset needs --split"),
        (["beton", "run.yaml", "x.beton", "--no-verify"], "--no-verify needs --dataset"),
        (["stats", "--store", "nowhere"], "--store nowhere does not exist"),
        (["stats", "--store", "redis//:S3CRET@host"], "--store redis//***@host does not exist"),
        (["stats"], "Missing option '--store'"),
        (["top", "--store", "nowhere", "-k", "0"], "-k"),
        (["report", "."], "holds no run"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(arguments, expected, tmp_path):
    (tmp_path / "run.yaml").write_text(
        "name: r\ndata: {train: train.beton, test: test.beton}\n"
        "training: {epochs: 2}\npruning: {ratio: 0.5}\n"
    )
    (tmp_path / "x.beton").write_bytes(b"not a beton")
    assert expected in refused(sadp_dist_command(*arguments, cwd=tmp_path))


def test_a_beton_without_an_index_is_refused(tmp_path, digits):
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    images = [(np.zeros((8, 8, 3), np.uint8), 1)] * 4
    path = tmp_path / "plain.beton"
    DatasetWriter(str(path), {"image": RGBImageField(), "label": IntField()}).from_indexed_dataset(images)
    (tmp_path / "run.yaml").write_text(
        "name: r\ndata: {train: plain.beton, test: plain.beton}\ntraining: {epochs: 2}\n"
    )
    assert "has no field 'index'" in refused(sadp_dist_command("train", "run.yaml", cwd=tmp_path))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["data.image_size=32"], "data.image_size=32, but {train} has images of 8 x 8"),
        (["data.classes=9"], "data.classes=9, but data.train has the label 9"),
        (["output=/proc/nowhere"], "output=/proc/nowhere cannot be written"),
    ],
)
def test_what_does_not_fit_the_data_is_refused_before_anything_is_written(
    overrides, expected, tmp_path, digits
):
    train = tmp_path / "train.beton"
    assert sadp_dist_command("beton", digits, train, "--split", "test").returncode == 0
    (tmp_path / "run.yaml").write_text(
        f"name: r\ndata: {{train: {train}, test: {train}, image_size: 8}}\ntraining: {{epochs: 1}}\n"
    )
    line = refused(sadp_dist_command("train", "run.yaml", *overrides, cwd=tmp_path))
    assert expected.format(train=train) in line
    assert not (tmp_path / "runs").exists()


def test_training_that_diverges_says_so_in_one_line(tmp_path, digits):
    write_run(tmp_path, digits, training="{epochs: 3, learning_rate: 1.0e+38}")
    for method in ("sadp", "full"):
        overrides = [f"pruning.method={method}", f"name={method}"]
        done = sadp_dist_command("train", "run.yaml", *overrides, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("sadp-dist: epoch "), done.stderr
        assert "lower training.learning_rate" in done.stderr
        assert done.stderr.count("\n") == 1


def test_beton_writes_a_split_of_a_folder(tmp_path, digits):
    out = tmp_path / "new" / "train.beton"
    done = sadp_dist_command("beton", digits, out, "--split", "train")
    assert done.returncode == 0, done.stderr
    assert "wrote 1,442 images of 10 classes" in done.stdout
    assert beton_size(out) == 1442
    assert np.bincount(beton_labels(out)).min() > 130
    line = refused(sadp_dist_command("beton", digits, tmp_path / "x.beton"))
    assert "test, train" in line
    assert not (tmp_path / "x.beton").exists()


def test_beton_writes_a_public_dataset_and_training_says_how_to_get_it(tmp_path):
    archive = write_tar(tmp_path / "cifar-100-python.tar.gz", cifar_files(100, per_batch=150)[0])
    out = tmp_path / "train.beton"
    command = ("beton", archive, out, "--dataset", "cifar100", "--split", "train")
    assert "has the MD5 sum" in refused(sadp_dist_command(*command))
    done = sadp_dist_command(*command, "--no-verify")
    assert done.returncode == 0, done.stderr
    assert "wrote 150 images of 100 classes" in done.stdout
    assert beton_size(out) == 150
    (tmp_path / "run.yaml").write_text(
        f"name: r\ndata: {{dataset: cifar100, train: {out}, test: test.beton}}\ntraining: {{epochs: 1}}\n"
    )
    line = refused(sadp_dist_command("train", "run.yaml", cwd=tmp_path))
    assert "data.test='test.beton' does not exist; to get cifar100, download cifar-100" in line
    assert "then: sadp-dist beton SOURCE test.beton --dataset cifar100 --split test" in line


def test_stats_reads_the_store_that_a_run_has_saved(run_dir):
    done = sadp_dist_command("stats", "--store", run_dir, "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["run"], figures["dataset_size"]) == ("digits", 100)
    assert (figures["seen"], figures["unseen"], figures["subset_size"]) == (99, 1, 50)
    table = sadp_dist_command("stats", "--store", run_dir).stdout
    assert "dataset size" in table
    assert "██" in table


def test_a_run_is_found_by_name_in_a_directory_of_runs(run_dir, tmp_path):
    (tmp_path / "digits").symlink_to(run_dir)
    done = sadp_dist_command("stats", "--store", tmp_path, "--run", "digits", "--json")
    assert json.loads(done.stdout)["run"] == "digits"
    assert "holds the run 'digits', not --run 'other'" in refused(
        sadp_dist_command("top", "--store", run_dir, "--run", "other")
    )
    assert "give the run's directory" in refused(sadp_dist_command("stats", "--store", "memory:"))


def test_stats_can_be_watched(run_dir):
    with at_a_terminal("stats", "--store", run_dir, "--watch") as (process, screen):
        screen.wait_for(r"(?s)dataset size.*dataset size")
        process.send_signal(2)
        assert screen.exit_status(process) == 130


def test_top_lists_the_highest_and_the_lowest(run_dir):
    done = sadp_dist_command("top", "--store", run_dir, "-k", 3, "--json")
    assert [row["index"] for row in json.loads(done.stdout)] == [99, 98, 97]
    done = sadp_dist_command("top", "--store", run_dir, "-k", 4, "--lowest", "--json")
    assert [row["index"] for row in json.loads(done.stdout)] == [0, 1, 2, 4]
    assert "99" in sadp_dist_command("top", "--store", run_dir).stdout


def test_top_lists_those_whose_score_changed_most(run_dir, tmp_path):
    with connect("memory:", "digits", 9, PruningConfig(epochs=3)) as store:
        for epoch, factor in enumerate((1.0, -0.5, 3.0)):
            store.push(np.arange(9), 100 + factor * np.arange(9), epoch)
        store.save(tmp_path / "store.npz")
    done = sadp_dist_command("top", "--store", tmp_path, "--changed", "-k", 2, "--json")
    assert json.loads(done.stdout) == [
        {"index": 8, "change": 28.0, "score": 124.0},
        {"index": 7, "change": 24.5, "score": 121.0},
    ]
    table = sadp_dist_command("top", "--store", tmp_path, "--changed", "--lowest", "-k", 2).stdout
    assert "smallest changes" in table and "103" in table
    assert "largest changes" in sadp_dist_command("top", "--store", run_dir, "--changed").stdout  # none


def test_top_draws_the_images(run_dir, digits, tmp_path):
    sheet, hundred = tmp_path / "sheet.png", tmp_path / "images"
    (hundred / "0").mkdir(parents=True)
    for image in sorted((digits / "train" / "0").iterdir())[:100]:
        shutil.copy(image, hundred / "0")
    command = ("top", "--store", run_dir, "-k", 12, "--out", sheet, "--json", "--images")
    done = sadp_dist_command(*command, hundred)
    assert done.returncode == 0, done.stderr
    assert [row["label"] for row in json.loads(done.stdout)] == ["0"] * 12
    pixels = np.asarray(Image.open(sheet).convert("L"))
    assert pixels.std() > 10
    line = refused(sadp_dist_command("top", "--store", run_dir, "--images", digits))
    assert "--images needs --out" in line
    line = refused(sadp_dist_command(*command, digits, "--split", "train"))
    assert "holds 1,442 images, but the run trained on 100; give the source and split" in line


def test_without_ffcv_ray_and_redis_the_rest_trains(tmp_path, digits):
    for name in ("ffcv", "ray", "redis"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not installed here')")
    write_run(tmp_path, digits, training="{epochs: 1}")
    without = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sadp_dist", "train", "run.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=without, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "epoch   1/1" in done.stdout
    asks = {"ffcv": "data.loader=ffcv", "ray": "store.url=ray:auto", "redis": "store.url=redis://localhost"}
    for extra, override in asks.items():
        asked = subprocess.run(
            [*command, "--overwrite", override], cwd=tmp_path, env=without, capture_output=True, text=True
        )
        assert f"pip install 'sadp_dist[{extra}]'" in refused(asked)


def test_report_compares_runs(tmp_path, digits):
    write_run(tmp_path, digits, training="{epochs: 2, batch_size: 64}")
    for start, overrides in (
        (started_anew, ["name=full", "pruning.method=full"]),
        (sadp_dist_command, ["name=half", "pruning.ratio=0.5"]),
    ):
        done = start("train", "run.yaml", *overrides, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "epoch   2/2" in done.stdout
    rows = json.loads(sadp_dist_command("report", "runs/full", "runs/half", "--json", cwd=tmp_path).stdout)
    assert [row["method"] for row in rows] == ["full", "sadp"]
    assert [row["examples"] for row in rows] == [710, 356]
    assert rows[0]["time_ratio"] == 1.0
    assert "trained on" in sadp_dist_command("report", "runs/full", "--no-html", cwd=tmp_path).stdout
    (tmp_path / "runs" / "notes").mkdir()
    listed = json.loads(sadp_dist_command("runs", "--store", "runs", "--json", cwd=tmp_path).stdout)
    assert [(row["run"], row["state"], row["epoch"], row["epochs"]) for row in listed] == [
        ("full", "done", 1, 2),
        ("half", "done", 1, 2),
    ]
    metrics = tmp_path / "runs" / "half" / "metrics.jsonl"
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:1]))  # after one epoch
    os.utime(metrics, (time.time() - 7200, time.time() - 7200))
    table = sadp_dist_command("runs", "--store", "runs", cwd=tmp_path).stdout
    assert "stopped 2 h ago" in table and "1 of 2" in table and "2 of 2" in table
