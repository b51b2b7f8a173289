"""N-MNIST from its official .bin files: in the folder, in the .zip of a split, in a .zip of both."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sadp_dist.data import open_dataset
from sadp_dist.data.nmnist import decode
from sadp_dist.data.spikingjelly_readers import reader
from sadp_dist.errors import UsageError

SAMPLE = Path(os.environ.get("SADP_DIST_DATA") or "nowhere") / "nmnist-small.zip"


def bin_bytes(count: int, seed: int = 0) -> bytes:
    """A recording with `count` events, in the order of their times."""
    draw = np.random.default_rng(seed)
    x, y, p = (draw.integers(0, high, count) for high in (34, 34, 2))
    t = np.sort(draw.integers(0, 330_000, count))
    columns = [x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]
    return np.stack(columns, axis=1).astype(np.uint8).tobytes()


FILES = {
    f"{folder}/{digit}/{number:05d}.bin": bin_bytes(200 + digit, seed=digit + number)
    for folder, each in (("Train", 2), ("Test", 1))
    for digit in range(10)
    for number in range(each)
}


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_events_are_those_of_spikingjellys_reader(tmp_path):
    recording = bin_bytes(3_000)
    (tmp_path / "00001.bin").write_bytes(recording)
    expected = reader("utils").load_ATIS_bin(tmp_path / "00001.bin")
    found = decode(recording)
    for key in ("t", "x", "y", "p"):
        np.testing.assert_array_equal(found[key], expected[key])


LAYOUTS = ("folder", "one zip", "a zip per split", "the split's zip", "the split's folder")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_has_the_same_examples(layout, tmp_path):
    source = {"train": tmp_path / "nmnist", "test": tmp_path / "nmnist"}
    if layout == "one zip":
        source = dict.fromkeys(source, write_zip(tmp_path / "both.zip", FILES))
    else:
        write_folder(tmp_path / "nmnist", {} if "zip" in layout else FILES)
        (tmp_path / "nmnist").mkdir(exist_ok=True)
        for split, folder in (("train", "Train"), ("test", "Test")):
            if "zip" in layout:
                files = {name: data for name, data in FILES.items() if name.startswith(folder)}
                write_zip(tmp_path / "nmnist" / f"{folder}.zip", files)
            if layout.startswith("the split's"):
                source[split] /= folder if "folder" in layout else f"{folder}.zip"
    for split, each in (("train", 2), ("test", 1)):
        examples = open_dataset("nmnist", source[split], split, verify=False)
        assert examples.labels.tolist() == [digit for digit in range(10) for _ in range(each)]
        assert examples.left_out == {}
        for index in range(len(examples)):
            frames, label = examples[index]
            assert frames.shape == (10, 2, 34, 34) and frames.dtype == np.uint8
            assert frames.sum() == 200 + label


def test_frames_have_as_many_time_steps_as_asked_for(tmp_path):
    source = write_folder(tmp_path, FILES)
    for time_steps in (1, 7):
        frames, _ = open_dataset("nmnist", source, "test", verify=False, time_steps=time_steps)[3]
        assert frames.shape == (time_steps, 2, 34, 34) and frames.sum() == 203
    with pytest.raises(UsageError, match="^time_steps=0: must be at least 1$"):
        open_dataset("nmnist", source, "test", verify=False, time_steps=0)
    with pytest.raises(UsageError, match="^time_steps=4 is not an option of dataset shd; it has no options$"):
        open_dataset("shd", source, "test", verify=False, time_steps=4)


def test_files_that_are_no_recordings_are_counted(tmp_path):
    others = {"Test/3/empty.bin": b"", "Test/readme.txt": b"x", "Test/4/._00001.bin": b"x", "other.bin": b"x"}
    examples = open_dataset("nmnist", write_folder(tmp_path, FILES | others), "test", verify=False)
    assert len(examples) == 10
    assert examples.left_out == {
        "empty file": ["Test/3/empty.bin"],
        "not <digit>/<name>.bin": ["Test/4/._00001.bin", "Test/readme.txt"],
    }


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        (bin_bytes(9)[:-2], r"Test/5/00000.bin cannot be read \(43 bytes are not whole events of 5 bytes\)"),
        (
            b"\x22\x00\x00\x00\x00",
            r"Test/5/00000.bin cannot be read \(an event is outside of the 34 x 34 pixels",
        ),
    ],
)
def test_a_damaged_recording_is_named(damaged, expected, tmp_path):
    examples = open_dataset(
        "nmnist", write_folder(tmp_path, FILES | {"Test/5/00000.bin": damaged}), "test", verify=False
    )
    with pytest.raises(UsageError, match=expected):
        examples[5]


def test_what_is_missing_is_said(tmp_path):
    source = write_folder(tmp_path, {name: data for name, data in FILES.items() if "Train" in name})
    with pytest.raises(UsageError, match="has no recordings of 'test'; expected Test/<digit>/<number>.bin"):
        open_dataset("nmnist", source, "test")
    with pytest.raises(UsageError, match="train has 20 examples, but nmnist has 60,000; to get nmnist"):
        open_dataset("nmnist", source, "train")


def test_the_fingerprint_is_that_of_the_content_not_of_the_place(tmp_path):
    first = write_folder(tmp_path / "a", FILES)
    second = write_folder(tmp_path / "elsewhere", FILES)
    prints = [open_dataset("nmnist", path, "test", verify=False).fingerprint() for path in (first, second)]
    assert prints[0] == prints[1] and len(prints[0]) == 32
    (second / "Test/7/00000.bin").write_bytes(bin_bytes(207, seed=99))  # the same size
    assert open_dataset("nmnist", second, "test", verify=False).fingerprint() != prints[0]


@pytest.mark.skipif(not SAMPLE.is_file(), reason="SADP_DIST_DATA names no folder with nmnist-small.zip")
def test_official_recordings_show_digits():
    examples = open_dataset("nmnist", SAMPLE, "test", verify=False)
    assert np.bincount(examples.labels).tolist() == [8, 14, 8, 11, 14, 7, 10, 15, 2, 11]
    means = []
    for index in range(0, 100, 10):
        frames, _ = examples[index]
        assert 1_000 < frames.sum() < 10_000
        events = examples.events(index)
        assert (np.diff(events["t"]) >= 0).all() and 290_000 < events["t"][-1] < 340_000  # three saccades
        means.append(frames.sum(axis=(0, 1)))
    middle = np.mean(means, axis=0)
    assert middle[12:22, 12:22].mean() > 5 * middle[:3].mean()  # the digit is in the middle
