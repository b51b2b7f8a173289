"""Mistakes with data: what `sadp-dist beton`, `open_images` and `open_dataset` say."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from typer.testing import CliRunner

from sadp_dist.cli.dataset_options import dataset_options
from sadp_dist.cli.main import app
from sadp_dist.data import DataConfig, open_dataset, open_images
from sadp_dist.loading import write_beton
from sadp_dist.training.datasets import open_data
from sadp_dist.training.processes import Process
from sadp_dist.training.sequences import check_sequences
from tests.data.published import tone, wav_bytes
from tests.data.test_nmnist import bin_bytes, write_folder
from tests.mistakes.case import Table

DATA = Table()
QUIET = wav_bytes(tone(200, 0.2))
SPOKEN = [f"{word}_{who}_{n}.wav" for word in ("no", "yes") for who in ("ann", "bo") for n in range(2)]


def write_images(folder: Path, *names: str, mode: str = "RGB", colour: float = 0) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (8, 8), colour).save(path)
    return folder


def write_parquet(path: Path, labels: list[object]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = write_images(path.parent, "one.png") / "one.png"
    content = image.read_bytes()
    image.unlink()
    pq.write_table(pa.table({"image": [content] * len(labels), "label": labels}), path)
    return path


def read_all(source: object) -> None:
    for index in range(len(source)):  # type: ignore[arg-type]
        source[index]  # type: ignore[index]


@DATA.row("a source with several splits, and none is chosen", "the splits are no classes")
def _(folder: Path) -> None:
    open_images(write_images(folder, *(f"{split}/{k}/1.png" for split in ("train", "test") for k in "ab")))


@DATA.row("splits beside a folder that is neither", "`unlabeled` is no class")
def _(folder: Path) -> None:
    open_images(
        write_images(folder, *(f"{top}/{k}/1.png" for top in ("train", "test", "unlabeled") for k in "ab"))
    )


@DATA.row("a split that the source does not have", "another one would be read")
def _(folder: Path) -> None:
    open_images(write_images(folder, *(f"train/{k}/1.png" for k in "ab")), "valid")


@DATA.row("images that are in no class folder", "they have no label")
def _(folder: Path) -> None:
    open_images(write_images(folder, "1.png", "2.png"))


@DATA.row("files that are no images, and empty files", "you may miss them in training")
def _(folder: Path) -> str:
    write_images(folder, *(f"{word}/{n}.png" for word in ("cat", "dog") for n in range(3)))
    (folder / "dog/notes.txt").write_text("x")
    (folder / "cat/9.png").touch()
    done = CliRunner().invoke(app, ["beton", str(folder), str(folder / "out.beton"), "--workers", "1"])
    return "; ".join(line for line in done.output.splitlines() if line.startswith("left out"))


@DATA.row("a test set that was written by itself and lacks a class", "its labels would mean other classes")
def _(folder: Path) -> None:
    train = write_images(folder / "train", *(f"{word}/1.png" for word in ("ant", "bee", "cow")))
    test = write_images(folder / "test", *(f"{word}/1.png" for word in ("ant", "cow")))
    for source in (train, test):
        write_beton(source, f"{source}.beton", workers=1)
    config = DataConfig(train=f"{train}.beton", test=f"{test}.beton", image_size=8)
    open_data(config, 2, 0, Process(0, 1, torch.device("cpu")), time_steps=4)


@DATA.row("a class that the training set lacks", "its label number would be another class")
def _(folder: Path) -> None:
    open_images(write_images(folder, "cat/1.png", "dog/1.png"), classes=["cat", "cow"])


@DATA.row("a damaged image", "a batch would be short, or training stop in its middle")
def _(folder: Path) -> None:
    images = write_images(folder, "cat/1.png", "dog/1.png")
    (folder / "dog/1.png").write_bytes((folder / "dog/1.png").read_bytes()[:-30])
    read_all(open_images(images))


@DATA.row("images of floating point numbers", "their range is not known, and 8 bits would cut them")
def _(folder: Path) -> None:
    read_all(open_images(write_images(folder, "cat/1.tif", "dog/1.tif", mode="F", colour=300)))


@DATA.row("parquet with labels that are missing", "a missing label would be a class")
def _(folder: Path) -> None:
    open_images(write_parquet(folder / "train.parquet", [0, 1, None, None]))


@DATA.row("parquet with several labels of an image", "an example has one class")
def _(folder: Path) -> None:
    open_images(write_parquet(folder / "train.parquet", [[0, 1], [1]]))


@DATA.row(
    "a part of a public dataset, without `--no-verify`", "accuracies are compared with the whole dataset"
)
def _(folder: Path) -> None:
    files = {f"Test/{digit}/1.bin": bin_bytes(50) for digit in range(10)}
    open_dataset("nmnist", write_folder(folder, files), "test")


@DATA.row("a damaged recording of events", "an event would be at another pixel or time")
def _(folder: Path) -> None:
    files = {f"Test/{digit}/1.bin": bin_bytes(50)[: 249 if digit == 3 else 250] for digit in range(10)}
    read_all(open_dataset("nmnist", write_folder(folder, files), "test", verify=False))


@DATA.row("a file with another number of time steps than the network", "the network would see part of it")
def _(folder: Path) -> None:
    config = DataConfig(train="train.beton", test="test.beton")
    check_sequences(config, "train.beton", (10, 2, 34, 34), time_steps=4)


@DATA.row("`--time-steps` for data that is not events", "it would change nothing")
def _(folder: Path) -> None:
    dataset_options("shd", [], time_steps=50)


@DATA.row("a pattern that names the class in two ways", "half of the labels could be wrong")
def _(folder: Path) -> None:
    source = write_folder(folder, dict.fromkeys(SPOKEN, QUIET))
    open_dataset("wav", source, "train", pattern="{class}_{number}.wav")


@DATA.row("recordings without folders or a pattern for the class", "they have no label")
def _(folder: Path) -> None:
    open_dataset("wav", write_folder(folder, dict.fromkeys(SPOKEN, QUIET)), "train", test_files="*_1.wav")


@DATA.row("recordings without a split", "the test set would be trained on")
def _(folder: Path) -> None:
    source = write_folder(folder, dict.fromkeys(SPOKEN, QUIET))
    open_dataset("wav", source, "train", pattern="{class}_{speaker}_{number}.wav")


@DATA.row("a recording in two splits", "the test set would be trained on")
def _(folder: Path) -> None:
    source = write_folder(folder, dict.fromkeys(SPOKEN, QUIET))
    options = {
        "pattern": "{class}_{speaker}_{number}.wav",
        "train_files": "*_0.wav",
        "test_files": "*_bo_?.wav",
    }
    open_dataset("wav", source, "train", **options)


@DATA.row("recordings that are longer than `seconds`", "their end is lost")
def _(folder: Path) -> None:
    files = {f"test/{word}/1.wav": wav_bytes(tone(200, 1.25)) for word in ("no", "yes")}
    open_dataset("wav", write_folder(folder, files), "test")


@DATA.row("a recording that is cut off", "its features would be those of silence")
def _(folder: Path) -> None:
    files = {"test/no/1.wav": QUIET, "test/yes/1.wav": QUIET[:-1_000]}
    read_all(open_dataset("wav", write_folder(folder, files), "test"))
