"""Parquet: which files are of a split, which columns are read, and what labels of every type become."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from sadp_dist.data import find_damaged, open_images
from sadp_dist.data.imagenet import open_imagenet
from sadp_dist.errors import UsageError
from tests.data.image_trees import encoded, write_tree

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(path, labels=(0, 1), images=None, image="image", label="label", features=None, **options):
    """Write a file of images that tell their number; `features` are Hugging Face's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    column = images if images is not None else [encoded(i) for i in range(len(labels))]
    table = pa.table({image: column, label: labels})
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, **options)
    return path


def named(*names):
    return {"label": {"names": list(names), "_type": "ClassLabel"}}


# Files of a split


@pytest.mark.parametrize(
    ("files", "split", "read"),
    [
        (["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"], "train", [0, 1]),
        (["data/train-00000-of-00001", "data/validation-00000-of-00001"], "validation", [1]),
        (["train-00000-of-00001", "train_extra-00000-of-00001"], "train", [0]),
        (["train-00000-of-00001", "train_extra-00000-of-00001"], "train_extra", [1]),
        (["train", "test"], "test", [1]),
        (["train.0", "test.0"], "train", [0]),
        (["plain_text/train/0000", "plain_text/test/0000"], "train", [0]),
        (["plain_text/fold1/0000", "plain_text/fold2/0000"], "fold2", [1]),
        (["train/part-1", "train/part-0", "test/part-0"], "train", [1, 0]),
        (["train-10", "train-9", "train-2"], None, [2, 1, 0]),
        (["train-00000-of-00001-b42857b2f4a3a7a8", "test-00000-of-00001-0a"], "train", [0]),
        (["b", "a"], None, [1, 0]),
        (
            ["train.parquet/part-00000-1b2c-c000.snappy", "test.parquet/part-00000-3d4e-c000.snappy"],
            "train",
            [0],
        ),
        (["data/0001", "data/0000"], None, [1, 0]),
    ],
)
def test_the_files_of_a_split_are_found_and_read_in_order(tmp_path, files, split, read):
    for number, file in enumerate(files):
        write(tmp_path / f"{file}.parquet", [number], [encoded(number)])
    images = open_images(tmp_path, split)
    assert [images.encoded(i) for i in range(len(images))] == [encoded(number) for number in read]
    assert images.paths == [f"{files[number]}.parquet, row 0" for number in read]
    assert [images.classes[label] for label in images.labels] == [str(number) for number in read]


@pytest.mark.parametrize(
    ("files", "split", "message"),
    [
        (["train-0", "test-0"], None, "has the splits test, train; choose one with split="),
        (["train-0", "unlabelled"], None, "the split train beside the files unlabelled.parquet; choose one"),
        (["fold1-00000-of-00001", "fold2-00000-of-00001"], None, "has the splits fold1, fold2; choose"),
        (["plain_text/a/0000", "plain_text/b/0000"], None, "has the splits a, b; choose"),
        (["validation-0", "test-0"], "val", "split 'val' is not in .*; it has: test, validation"),
        (["a/train-0", "b/train-0"], "train", "parquet files in the folders a, b; pass one of them"),
        (["train-00000-of-00003", "train-00002-of-00003"], None, "has 2 of 3 shards .*; get the rest"),
        (["train-00000-of-00001-ab", "train-00000-of-00001-cd"], None, "more than one export"),
    ],
)
def test_files_of_several_splits_are_not_mixed(tmp_path, files, split, message):
    for file in files:
        write(tmp_path / f"{file}.parquet")
    with pytest.raises(UsageError, match=message):
        open_images(tmp_path, split)


def test_a_file_has_the_split_of_its_name(tmp_path):
    file = write(tmp_path / "train-00000-of-00001.parquet")
    assert len(open_images(file, "train")) == len(open_images(file)) == 2
    with pytest.raises(UsageError, match="split 'test' is not in .*; it has: train"):
        open_images(file, "test")
    with pytest.raises(UsageError, match="split 'test' is not in .*; one file has no splits; leave it out"):
        open_images(write(tmp_path / "pets.parquet"), "test")
    write(tmp_path / "imagenet" / "validation-00000-of-00001.parquet")
    assert len(open_imagenet(tmp_path / "imagenet", "test")) == 2


def test_a_clone_of_a_dataset_repository_is_read_and_its_other_files_are_listed(tmp_path):
    write(tmp_path / "data" / "train-00000-of-00001.parquet")
    write_tree(tmp_path, {"README.md": b"#", "assets/preview.png": None, ".git/config": b"-"})
    images = open_images(tmp_path)
    assert len(images) == 2
    assert images.left_out == {
        "hidden or system folder": [".git"],
        "image beside parquet files": ["assets/preview.png"],
        "unsupported file type (.md)": ["README.md"],
    }
    write(tmp_path / "data" / "train-00000-of-00001.parquet", image="picture")
    with pytest.raises(UsageError, match=r"no column .*To read the 1 image files instead, move the parquet"):
        open_images(tmp_path)


def test_files_that_git_lfs_has_not_fetched_say_so(tmp_path):
    (tmp_path / "train.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    with pytest.raises(UsageError, match=r"train\.parquet: a Git LFS pointer, .*run: git lfs pull"):
        open_images(tmp_path)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"labels": ["a", "b"]}, "column 'label' is string, but int64 in train-0.parquet"),
        ({"label": "class"}, "column 'label' is missing, but int64"),
        ({"features": named("a", "b")}, "class names of 'label' differ"),
    ],
)
def test_shards_with_different_schemas_are_refused(tmp_path, second, message):
    write(tmp_path / "train-0.parquet")
    write(tmp_path / "train-1.parquet", **second)
    with pytest.raises(UsageError, match=rf"train-1\.parquet: .*{message}"):
        open_images(tmp_path)


# Columns


def test_columns_are_found_by_their_names_or_features_or_chosen(tmp_path):
    file = write(tmp_path / "a.parquet", image="picture", label="breed")
    with pytest.raises(UsageError, match="no column 'image' or 'img'; it has: picture, breed; choose"):
        open_images(file)
    with pytest.raises(UsageError, match="no column 'x'; it has: picture, breed"):
        open_images(file, image_column="x")
    with pytest.raises(UsageError, match="no column 'label' .*; choose one with label_column="):
        open_images(file, image_column="picture")
    assert open_images(file, image_column="picture", label_column="breed").labels.tolist() == [0, 1]
    features = {"picture": {"_type": "Image"}, "breed": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    file = write(tmp_path / "b.parquet", image="picture", label="breed", features=features)
    assert open_images(file).classes == ["cat", "dog"]


def test_several_columns_of_usual_names_have_to_be_chosen_from(tmp_path):
    table = {"image": [encoded(), encoded()], "label": [0, 1], "labels": ["b", "a"]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="has the columns label, labels; choose one with label_column="):
        open_images(tmp_path / "a.parquet")
    assert open_images(tmp_path / "a.parquet", label_column="labels").labels.tolist() == [1, 0]


def test_columns_are_for_parquet_only(tmp_path):
    with pytest.raises(UsageError, match="image_column and label_column are for parquet"):
        open_images(write_tree(tmp_path, ["a/0.png"]), label_column="label")


PIXELS = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), np.uint8)
FILES = [encoded(0), encoded(1)]
TENSOR = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(PIXELS))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (PIXELS.tolist(), PIXELS),
        (pa.array(PIXELS.tolist(), pa.list_(pa.list_(pa.list_(pa.uint8(), 3)))), PIXELS),
        (PIXELS.transpose(0, 3, 1, 2).tolist(), PIXELS),
        (PIXELS[..., 0].tolist(), np.repeat(PIXELS[..., :1], 3, axis=3)),
        (PIXELS[..., :1].tolist(), np.repeat(PIXELS[..., :1], 3, axis=3)),
        (TENSOR, PIXELS),
        (pa.array(FILES, pa.large_binary()), None),
        ([list(file) for file in FILES], None),
        ([{"bytes": file, "path": None} for file in FILES], None),
    ],
)
def test_an_image_may_be_bytes_a_struct_or_nested_lists_of_pixels(tmp_path, column, expected):
    images = open_images(write(tmp_path / "a.parquet", images=column, row_group_size=1))
    for index in range(2):
        if expected is None:
            assert images.encoded(index) == FILES[index]
        else:
            assert np.array_equal(np.asarray(images[index][0]), expected[index])


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (["a", "b"], "string"),
        ([0.5, 1.0], "double"),
        ([[[0.5]], [[1.0]]], "list<.*: list<.*: double>>"),
    ],
)
def test_other_types_of_an_image_column_are_refused(tmp_path, column, kind):
    with pytest.raises(UsageError, match=f"image column 'image' has the type {kind}; must be bytes"):
        open_images(write(tmp_path / "a.parquet", images=column))


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ([FILES[0], None], "the row has no bytes of an image, but null"),
        ([{"bytes": FILES[0]}, {"bytes": None}], "the row has no bytes of an image, but null"),
        ([{"bytes": FILES[0]}, None], "the row has no bytes of an image, but null"),
        ([[[0]], [[256]]], "pixels must be from 0 to 255; it has 256 to 256"),
        ([[[0]], [[0, 1], [2]]], "its lists have different lengths"),
        ([[[0]], [[None]]], "1 of its pixels are null"),
        ([[[0]], []], "it has no pixels"),
        ([[[[0]]], [[[0] * 2] * 2] * 2], r"pixels of the shape \(2, 2, 2\); must be \(H, W\)"),
    ],
)
def test_a_row_that_is_no_image_is_named(tmp_path, column, reason):
    images = open_images(write(tmp_path / "a.parquet", images=column))
    assert list(find_damaged(images, workers=1)) == [1]
    with pytest.raises(UsageError, match=rf"image a\.parquet, row 1 cannot be read \(({reason})"):
        images[1]


# Labels


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (["dog", "cat", "dog"], ["cat", "dog"], [1, 0, 1]),
        ([b"dog", b"cat"], ["cat", "dog"], [1, 0]),
        (pa.array(["dog", "cat", "dog"]).dictionary_encode(), ["cat", "dog"], [1, 0, 1]),
        ([2, 0, 1], ["0", "1", "2"], [2, 0, 1]),
        ([10**12, 7, 10**12], ["7", "1000000000000"], [1, 0, 1]),
        ([-1, 1, -1], ["-1", "1"], [0, 1, 0]),
        (pa.array([3, 5], pa.uint8()), ["3", "5"], [0, 1]),
        ([True, False, True], ["False", "True"], [1, 0, 1]),
        ([True, True], ["False", "True"], [1, 1]),
    ],
)
def test_labels_of_every_type_are_numbered_by_their_sorted_values(tmp_path, labels, classes, numbers):
    images = open_images(write(tmp_path / "a.parquet", labels))
    assert images.classes == classes
    assert images.labels.dtype == np.int64 and images.labels.tolist() == numbers


@pytest.mark.parametrize(
    ("labels", "features", "message"),
    [
        ([0, None, None], None, "has 2 nulls in 3 rows; remove these rows"),
        (["a", None], None, "has 1 null in 2 rows"),
        (
            [[0, 1], [1]],
            None,
            r"has lists \(list<element: int64>\), several labels for an image; must",
        ),
        ([{"x": 1}], None, "has values of the type struct<x: int64>; must be one integer, boolean or name"),
        ([0.5, 1.0], None, "has values of the type double; must be one integer, boolean or name"),
        ([-1, -1], None, "has 2 labels below 0 in 2 rows, which mark images without a label"),
        ([0, -1, 1], named("a", "b"), "has 1 label below 0 in 3 rows"),
        (pa.array([2**63], pa.uint64()), None, "has values of the type uint64"),
        ([b"\xff\xfe"], None, "has values of the type binary"),
    ],
)
def test_labels_that_are_none_are_refused_in_one_line(tmp_path, labels, features, message):
    with pytest.raises(UsageError, match=f"a.parquet: label column 'label' {message}") as refused:
        open_images(write(tmp_path / "a.parquet", labels, features=features))
    assert "\n" not in str(refused.value)


def test_the_names_of_hugging_face_are_kept_where_they_fit(tmp_path):
    images = open_images(write(tmp_path / "a.parquet", [2, 0], features=named("cat", "dog", "emu")))
    assert images.classes == ["cat", "dog", "emu"]
    assert images.labels.tolist() == [2, 0]
    assert images.left_out == {"class without images in this split": ["dog"]}
    images = open_images(write(tmp_path / "b.parquet", [2, 0], features=named("cat", "dog")))
    assert images.classes == ["0", "2"]
    images = open_images(tmp_path / "a.parquet", classes=["emu", "cat"])
    assert images.labels.tolist() == [0, 1]


def test_a_fingerprint_belongs_to_the_rows_and_not_to_the_place(tmp_path):
    first = open_images(write(tmp_path / "a.parquet", [0, 1, 0]))
    os.makedirs(tmp_path / "moved")
    os.rename(tmp_path / "a.parquet", tmp_path / "moved" / "b.parquet")
    assert (moved := open_images(tmp_path / "moved" / "b.parquet")).fingerprint() != moved.without(
        [1]
    ).fingerprint()
    write(tmp_path / "a.parquet", [0, 1, 0])
    assert first.fingerprint() == moved.fingerprint()
    write(tmp_path / "a.parquet", [0, 1, 1])
    assert open_images(tmp_path / "a.parquet").fingerprint() != first.fingerprint()
    write(tmp_path / "a.parquet", [0, 1, 0], [encoded(i) for i in (0, 1, 9)])
    assert open_images(tmp_path / "a.parquet").fingerprint() != moved.fingerprint()
