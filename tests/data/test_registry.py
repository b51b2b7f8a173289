"""Datasets by name: facts, what to download, and files that are not the published ones."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from sadp_dist.data import DATASETS, open_dataset, register_dataset
from sadp_dist.errors import UsageError
from tests.data.published import cifar_files, write_tar


@pytest.fixture
def small(monkeypatch, tmp_path):
    """CIFAR-10 with 20 training and 4 test images, its archive and that archive's MD5 sum."""
    path = write_tar(tmp_path / "cifar-10-python.tar.gz", cifar_files(10)[0])
    file = dataclasses.replace(DATASETS["cifar10"].files[0], md5=hashlib.md5(path.read_bytes()).hexdigest())
    smaller = dataclasses.replace(DATASETS["cifar10"], train=20, test=4, files=(file,))
    monkeypatch.setitem(DATASETS, "cifar10", smaller)
    return path


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"wav"}))  # files of one's own have no facts
def test_every_dataset_has_its_facts_and_says_where_it_is(name):
    dataset = DATASETS[name]
    assert dataset.name == name
    assert dataset.train > dataset.classes and dataset.test > dataset.classes
    assert len(dataset.shape) == {"images": 3, "events": 4, "audio": 2}[dataset.kind]
    assert "download" in dataset.source
    for file in dataset.files:
        assert file.split in (None, *dataset.splits)
        assert file.md5 is None or (len(file.md5) == 32 and int(file.md5, 16))
    with pytest.raises(UsageError, match=f"does not exist; to get {name}, ") as refused:
        open_dataset(name, "nowhere", "train")
    assert "\n" not in str(refused.value)


def test_the_published_files_are_taken_packed_and_by_their_folder(small):
    for source in (small, small.parent):
        assert len(open_dataset("cifar10", source, "train")) == 20
        assert len(open_dataset("cifar10", source, "test")) == 4


def test_a_file_that_is_not_the_published_one_is_refused(small):
    published = DATASETS["cifar10"].files[0].md5
    write_tar(small, cifar_files(10, per_batch=5)[0])
    for source in (small, small.parent):
        with pytest.raises(UsageError, match=f"the published sum is {published}; download it again"):
            open_dataset("cifar10", source, "train")
    assert len(open_dataset("cifar10", small, "train", verify=False)) == 25


def test_a_part_of_a_dataset_is_refused(small):
    part = write_tar(small.with_name("part.tar.gz"), cifar_files(10, per_batch=3)[0])
    expected = r"train has 15 examples, but cifar10 has 20; .* or give --no-verify to use a part of it"
    with pytest.raises(UsageError, match=expected):
        open_dataset("cifar10", part, "train")
    assert len(open_dataset("cifar10", part, "train", verify=False)) == 15


def test_a_name_or_split_that_is_not_known_is_refused(small):
    with pytest.raises(UsageError, match='did you mean "cifar10"'):
        open_dataset("cifar-10", small, "train")
    with pytest.raises(UsageError, match=r"split='val' is not known; use one of \"train\", \"test\""):
        open_dataset("cifar10", small, "val")


@pytest.mark.usefixtures("registries_restored")
def test_a_dataset_of_ones_own_needs_no_facts_and_is_not_checked_against_any(tmp_path):
    @register_dataset("mine", kind="audio")
    def open_mine(path, split, factor=1):
        return [split] * factor

    assert DATASETS["mine"].splits == {} and not DATASETS["mine"].takes_time_steps
    with pytest.raises(UsageError, match="does not exist; give the files of mine$"):
        open_dataset("mine", tmp_path / "nowhere", "train")
    assert open_dataset("mine", tmp_path, "val", verify=False, factor=3) == ["val"] * 3
    with pytest.raises(UsageError, match="split='rest' is not known"):
        open_dataset("mine", tmp_path, "rest")
    with pytest.raises(
        UsageError, match="^times=3 is not an option of dataset mine; its options are factor$"
    ):
        open_dataset("mine", tmp_path, "train", times=3)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, 'kind=None is not known; use one of "images", "events", "audio"'),
        ({"kind": "video"}, "kind='video' is not known"),
        ({"kind": "images", "clases": 3}, "='clases' is not known; use one of .*did you mean \"classes\""),
    ],
)
def test_facts_of_a_dataset_are_checked_when_it_is_registered(facts, expected):
    with pytest.raises(UsageError, match=expected):
        register_dataset("mine", **facts)
