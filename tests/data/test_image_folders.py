"""Folders of images: which folders are classes, what is passed over, and where links lead."""

from __future__ import annotations

import os
import pickle

import pytest

from sadp_dist.data import open_images
from sadp_dist.errors import UsageError
from tests.data.image_trees import encoded, write_tree, zip_tree

PETS = ["cat/0.png", "cat/1.png", "dog/0.png"]


def under(folder, files=PETS):
    return [f"{folder}/{file}" for file in files]


@pytest.fixture(params=["folder", "zip"])
def source(request, tmp_path):
    """Return a function that writes a tree of files as a folder or as a .zip."""

    def write(files):
        root = write_tree(tmp_path / "source", files)
        return zip_tree(root, tmp_path / "source.zip") if request.param == "zip" else root

    return write


@pytest.mark.parametrize(
    ("files", "split", "folder"),
    [
        (PETS, None, ""),
        (under("pets"), None, "pets"),
        (under("x/x"), None, "x/x"),
        (under("train"), None, "train"),
        (under("train/train"), None, "train/train"),
        (under("x/train/Train"), None, "x/train/Train"),
        (under("train/train") + under("test/test"), "train", "train/train"),
        (under("pets/train") + under("pets/test") + under("pets/extra"), "test", "pets/test"),
        (under("pets/train") + under("pets/test") + under("pets/extra"), "extra", "pets/extra"),
        (under("train/train") + under("train/val"), "train/val", "train/val"),
        (under("train/images") + under("test/images"), "train/images", "train/images"),
        ([*under("pets"), "pets/logo.png"], "pets", "pets"),
        ([*under("train"), "train/cat/test/2.png"], "train", "train"),
        ([*PETS, "train/0.png"], None, ""),  # a class of trains
        (under("training_set/training_set") + under("test_set/test_set"), "test_set", "test_set/test_set"),
        (under("seg_train/seg_train") + under("seg_test/seg_test"), "seg_train", "seg_train/seg_train"),
        (["cat/left/0.png", "cat/right/0.png", "dog/left/1.png", "dog/right/1.png"], ".", ""),
        (["cat/train/0.png", "cat/test/0.png", "dog/0.png"], ".", ""),
        (["pets/cat/a/0.png", "pets/cat/b/0.png", "pets/dog/a/1.png", "pets/dog/b/1.png"], "pets/.", "pets"),
        (["cat/cat/0.png", "dog/dog/0.png"], None, ""),
        ([*PETS, "logo.png"], None, ""),
        ([*under("train"), "test/test/7.png"], "train", "train"),  # images without a label
        ([*under("train"), "test/unknown/7.png"], "train", "train"),
    ],
)
def test_the_classes_are_found(source, files, split, folder):
    images = open_images(source(files), split)
    assert images.folder == folder
    assert [name for name in images.classes if name != "train"] == ["cat", "dog"]
    assert all(path.startswith(folder) for path in images.paths)
    classes = [path.removeprefix(f"{folder}/" if folder else "").split("/")[0] for path in images.paths]
    assert [images.classes[label] for label in images.labels] == classes
    assert len(images) == sum(
        file.startswith(f"{folder}/" if folder else "") and "logo" not in file for file in files
    )


@pytest.mark.parametrize(
    ("files", "split", "message"),
    [
        (
            under("train") + under("test") + under("extra"),
            None,
            "splits test, train beside the folders extra; choose",
        ),
        (
            [*under("train"), "unlabeled/images/0.png"],
            None,
            "the split train beside the folders unlabeled; choose one",
        ),
        (
            under("train") + under("val") + ["extra/0.png"],
            None,
            "the splits train, val beside the folders extra",
        ),
        ([*under("train"), "test/0.png"], None, "has the splits test, train; choose one with split="),
        (["train/0.png", "test/0.png"], None, "has the splits test, train; choose one with split="),
        (["train/0.png", "test/0.png"], "train", "no class folders; expected train/<class>/<image>"),
        (["train/0.png"], None, "no class folders; expected train/<class>/<image>"),
        (
            ["test/test/0.png", "train/cat/0.png"],
            "test",
            "no class folders; expected test/test/<class>/<image>",
        ),
        (
            under("train/train") + under("train/val"),
            None,
            "splits train, val in train; .*split='train/train'",
        ),
        (under("x/train/train") + under("x/train/val"), "train", "in x/train; .*split='train/train'"),
        (
            under("train/images") + under("test/images"),
            "train",
            "one class, train/images, .*split='train/images'",
        ),
        (
            [*under("pets"), "pets/logo.png"],
            None,
            "has one class, pets, with the folders cat, dog inside; .*'pets'",
        ),
        (
            ["cat/train/0.png", "cat/test/0.png", "dog/0.png"],
            None,
            "splits test, train in cat; sort them as test/cat/",
        ),
        (
            under("day") + under("night"),
            None,
            "day, night, each with cat, dog inside; .*split='day'.*'.'$",
        ),
        (
            under("x/day") + under("x/night"),
            None,
            "day, night, .*such as split='day'; .* choose split='x/.'$",
        ),
        (
            under("a_set/a_set") + under("b_set/b_set"),
            None,
            "the splits a_set, b_set; choose one with split=",
        ),
        (
            under("train2017") + under("val2017"),
            None,
            "the splits train2017, val2017; choose one with split=",
        ),
        (under("train") + under("valid"), "val", "split 'val' is not in .*; it has: train, valid$"),
        ([*under("train"), "test/"], "test", r"split 'test' of .* has no images \(.jpg"),
    ],
)
def test_folders_that_could_be_splits_are_not_taken_for_classes(source, files, split, message):
    with pytest.raises(UsageError, match=message) as refused:
        open_images(source(files), split)
    assert "\n" not in str(refused.value)


def test_an_empty_name_of_a_split_is_refused(source):
    with pytest.raises(UsageError, match="split='/': must be the name of a split, such as 'train'"):
        open_images(source(under("train")), "/")


def test_a_folder_of_unlabelled_images_beside_the_splits_adds_no_class(source):
    tree = source([*under("train"), "test/images/7.png", "val/cat/0.png"])
    assert open_images(tree, "train").classes == open_images(tree, "val").classes == ["cat", "dog"]


def test_what_is_passed_over_is_listed_with_the_reason(source):
    files = {
        **dict.fromkeys(["a/0.png", "a/1.PNG", "a/deep/2.png", "b/3.png", "loose.png"]),
        **{"a/empty.png": b"", "a/animated.gif": b"GIF", "a/labels": b"-", "b/.4.png": encoded()},
        **{"@eaDir/b/3.png": encoded(), "b/.thumbnails/3.png": encoded(), "__MACOSX/a/0.png": encoded()},
        **{"c/x.gif": b"GIF", "d/": None, "notes.md": b"#"},
    }
    images = open_images(source(files))
    assert images.paths == ["a/0.png", "a/1.PNG", "a/deep/2.png", "b/3.png"]
    assert images.left_out == {
        "class folder without images": ["c", "d"],
        "empty file": ["a/empty.png"],
        "hidden file": ["b/.4.png"],
        "hidden or system folder": ["@eaDir", "__MACOSX", "b/.thumbnails"],
        "image in no class folder": ["loose.png"],
        "unsupported file type (.gif)": ["a/animated.gif", "c/x.gif"],
        "unsupported file type (.md)": ["notes.md"],
        "unsupported file type (no extension)": ["a/labels"],
    }


def test_what_is_passed_over_is_that_of_the_split_and_a_class_it_lacks_is_named(source):
    files = {"train/a/0.png": None, "train/b/0.png": None, "test/a/0.png": None, "test/c/0.png": None}
    tree = source({**files, "train/a/x.gif": b"GIF", "test/a/y.gif": b"GIF", "readme.md": b"#"})
    assert open_images(tree, "train").left_out == {
        "class without images in this split": ["c"],
        "unsupported file type (.gif)": ["train/a/x.gif"],
        "unsupported file type (.md)": ["readme.md"],
    }


def test_a_source_without_images_says_what_it_has(source):
    tree = source({"a/0.gif": b"GIF", "a/1.gif": b"GIF", "b/2.png": b""})
    with pytest.raises(
        UsageError, match=r"no images \(.*\); left out: 2 x unsupported file type \(.gif\), 1 x empty"
    ):
        open_images(tree)


def test_the_labels_follow_the_classes_that_are_given(source):
    tree = source(["cat/0.png", "emu/1.png"])
    images = open_images(tree, classes=["emu", "dog", "cat"])
    assert images.classes == ["emu", "dog", "cat"]
    assert [images[i][1] for i in range(2)] == images.labels.tolist() == [2, 0]
    assert images.left_out == {"class without images in this split": ["dog"]}
    with pytest.raises(UsageError, match=r"has images of emu, not among the given classes \(cat, dog\)"):
        open_images(tree, classes=["cat", "dog"])
    with pytest.raises(UsageError, match="classes: cat occurs twice"):
        open_images(tree, classes=["cat", "emu", "cat"])


def test_a_fingerprint_belongs_to_the_content_and_not_to_its_place(tmp_path, source):
    first = open_images(source(PETS))
    print_ = first.fingerprint()
    assert len(print_) == 32 and int(print_, 16)
    assert first.without([1]).fingerprint() != print_
    assert pickle.loads(pickle.dumps(first)).fingerprint() == print_
    moved = tmp_path / "moved" / first.name.rpartition("/")[2]
    moved.parent.mkdir()
    os.rename(first.name, moved)
    assert open_images(moved).fingerprint() == print_
    assert open_images(moved, classes=["dog", "cat"]).fingerprint() != print_


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize("change", ["other image", "other name", "other class", "one more"])
def test_another_content_has_another_fingerprint(tmp_path, kind, change):
    files = {path: encoded(i) for i, path in enumerate(PETS)}
    other = dict(files)
    if change == "other image":
        other["cat/0.png"] = encoded(9)
    elif change == "one more":
        other["dog/1.png"] = encoded(9)
    else:
        other["cat/9.png" if change == "other name" else "dog/1.png"] = other.pop("cat/1.png")
    trees = [write_tree(tmp_path / name, tree) for name, tree in (("a", files), ("b", other))]
    if kind == "zip":
        trees = [zip_tree(tree, tree.with_suffix(".zip")) for tree in trees]
    assert len({open_images(tree).fingerprint() for tree in trees}) == 2


def test_the_split_of_a_folder_has_the_fingerprint_of_the_folder_alone(tmp_path):
    root = write_tree(tmp_path / "source", under("train") + under("test"))
    assert open_images(root, "train").fingerprint() == open_images(root / "train").fingerprint()


def test_links_to_files_and_folders_are_followed_and_a_folder_is_read_once(tmp_path):
    elsewhere = write_tree(tmp_path / "elsewhere", ["emus/0.png", "emus/deep/1.png", "single.png"])
    root = write_tree(tmp_path / "source", PETS)
    (root / "emu").symlink_to(elsewhere / "emus")
    (root / "bird").symlink_to(elsewhere / "emus")
    (root / "dog" / "1.png").symlink_to(elsewhere / "single.png")
    (root / "dog" / "2.png").symlink_to(elsewhere / "gone.png")
    (root / "dog" / "3.png").symlink_to(root / "dog" / "3.png")
    (root / "cat" / "loop").symlink_to(root)
    (root / "cat" / "again").symlink_to(root / "dog")
    images = open_images(root)
    assert images.paths == [
        *["bird/0.png", "bird/deep/1.png", "cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"],
    ]
    assert images.left_out == {
        "broken link": ["dog/2.png", "dog/3.png"],
        "link to a folder that is read already": ["cat/again", "cat/loop", "emu"],
    }
    assert len([images[i] for i in range(len(images))]) == 6


def test_a_split_may_be_a_link_to_another(tmp_path):
    root = write_tree(tmp_path / "source", under("train") + under("test"))
    (root / "val").symlink_to("test")
    (root / "test" / "loop").symlink_to(root)
    val, test = open_images(root, "val"), open_images(root, "test")
    assert val.fingerprint() == test.fingerprint()
    assert len(val) == 3
    assert test.left_out == {"link to a folder that is read already": ["test/loop"]}


def test_a_folder_that_may_not_be_read_is_listed(tmp_path, monkeypatch):
    root = write_tree(tmp_path / "source", [*PETS, "emu/0.png"])
    scandir = os.scandir

    def refuse(folder):  # root may read every folder
        if str(folder).endswith("emu"):
            raise PermissionError(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert open_images(root).left_out == {"unreadable folder": ["emu"]}
