"""The public datasets of events, from files like theirs: examples as frames, with class, in their split."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sadp_dist.data import DATASETS, open_dataset
from sadp_dist.data.event_frames import Frames
from sadp_dist.data.simulated_event_camera import Filmed, film, film_dataset
from sadp_dist.errors import UsageError

NAMES = ("cifar10-dvs", "hardvs", "dvs128-gesture")
CLASSES = 3
TRAIN, TEST = 2, 1


class Pictures:
    """Pictures of noise, three of each class."""

    name, classes = "noise", ["a", "b", "c"]
    labels = np.arange(9) % CLASSES

    def __getitem__(self, index):
        noise = np.random.default_rng(index).integers(0, 256, (6, 6), np.uint8)
        return Image.fromarray(noise), int(self.labels[index])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder with the files of each dataset."""
    folders = {name: tmp_path_factory.mktemp(name) for name in NAMES}
    for name, folder in folders.items():
        film_dataset(name, Pictures(), folder / "files", TRAIN, TEST, loops=1)
    return folders


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_in_its_split_with_its_class_and_frames(name, folders):
    dataset, seen = DATASETS[name], []
    for split, count in (("train", TRAIN), ("test", TEST)):
        examples = open_dataset(name, folders[name] / "files", split, verify=False)
        assert len(examples) == CLASSES * count and len(examples.classes) == dataset.classes
        assert np.bincount(examples.labels).tolist() == [count] * CLASSES
        for index in range(len(examples)):
            frames, label = examples[index]
            assert frames.shape == dataset.shape and label == examples.labels[index]
            seen.append((label, round(float(frames.sum()), -1)))
    height, width = (260, 346) if name == "hardvs" else (128, 128)
    filmed = []
    for index in range(9):
        events = film(Pictures()[index][0], height, width, loops=1)
        share = dataset.shape[-1] ** 2 / (height * width)  # of its pixels a smaller frame keeps
        filmed.append((index % CLASSES, len(events["t"]) * share))
    for (label, found), (expected_label, expected) in zip(sorted(seen), sorted(filmed), strict=True):
        assert label == expected_label and found == pytest.approx(expected, rel=0.01, abs=20)


def test_pictures_are_filmed_without_a_file_between():
    filmed = Filmed(Pictures(), Frames(time_steps=4, height=12, width=12))
    frames, label = filmed[4]
    events = film(Pictures()[4][0], 12, 12, loops=1)
    assert (len(filmed), filmed.classes, label) == (9, ["a", "b", "c"], 1)
    assert frames.shape == (4, 2, 12, 12)
    assert frames.sum() == len(events["t"]) > 0
    assert frames[:, 1].sum() == events["p"].sum()


def test_the_folder_above_is_enough(folders):
    assert len(open_dataset("cifar10-dvs", folders["cifar10-dvs"], "train", verify=False)) == CLASSES * TRAIN
    assert len(open_dataset("hardvs", folders["hardvs"], "test", verify=False)) == CLASSES * TEST


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_without_the_files_says_what_is_expected(name, tmp_path):
    with pytest.raises(UsageError, match="^source '.*' has no .*(expected|unpack)") as refused:
        open_dataset(name, tmp_path, "train")
    assert "\n" not in str(refused.value)


def test_packed_files_are_to_be_unpacked(tmp_path):
    (tmp_path / "airplane.zip").touch()
    with pytest.raises(UsageError, match=r"unpack them there: unzip '\*\.zip'"):
        open_dataset("cifar10-dvs", tmp_path, "train", verify=False)
    (tmp_path / "DvsGesture.tar.gz").touch()
    with pytest.raises(UsageError, match="is not unpacked: tar xzf"):
        open_dataset("dvs128-gesture", tmp_path, "train", verify=False)


def test_spikingjellys_npz_of_the_same_events_give_the_same_frames(folders, tmp_path):
    published = open_dataset("cifar10-dvs", folders["cifar10-dvs"], "train", verify=False)
    for name in published.classes:
        (tmp_path / name).mkdir()
    for number in range(TRAIN):
        events = published.events(number)
        np.savez(tmp_path / "airplane" / f"cifar10_airplane_{number}.npz", **events)
    again = open_dataset("cifar10-dvs", tmp_path, "train", verify=False)
    assert len(again) == TRAIN
    assert all(np.array_equal(again[i][0], published[i][0]) for i in range(TRAIN))


def test_a_damaged_file_is_named_in_one_line(tmp_path):
    film_dataset("cifar10-dvs", Pictures(), tmp_path, 1, 1, loops=1)
    damaged = tmp_path / "bird" / "cifar10_bird_0.aedat"
    damaged.write_bytes(damaged.read_bytes()[:-4])
    examples = open_dataset("cifar10-dvs", tmp_path, "train", verify=False)
    with pytest.raises(UsageError, match=r"cifar10_bird_0.aedat cannot be read \(odd number") as refused:
        examples[2]
    assert "\n" not in str(refused.value)


def test_a_list_with_another_class_and_a_gesture_without_its_table_are_refused(folders, tmp_path):
    (tmp_path / "action_001").mkdir()
    (tmp_path / "train_label.txt").write_text("action_301/one 300\n")
    with pytest.raises(
        UsageError, match="train_label.txt names .*action_301/one.npz, which is not in a folder"
    ):
        open_dataset("hardvs", tmp_path, "train", verify=False)
    (tmp_path / "trials_to_train.txt").write_text("user01_led.aedat\n")
    with pytest.raises(UsageError, match="user01_led_labels.csv: not a table of class, begin and end"):
        open_dataset("dvs128-gesture", tmp_path, "train", verify=False)
