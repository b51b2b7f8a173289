"""Random trees and tables: what another library reads is read with the same label, or listed, or refused.

The others are torchvision's ImageFolder, and pyarrow's rows taken one by one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.datasets import ImageFolder

from sadp_dist.data import open_images
from sadp_dist.errors import UsageError
from tests.data.image_trees import encoded, write_tree, zip_tree

FOLDERS = ["a", "b", "train", "test", "extra", ".c", "__MACOSX"]
FILES = ["0.png", "1.JPG", ".2.png", "x.gif", "y.txt", "z.webp"]
PNG = encoded()

paths = st.builds(
    lambda folders, file: "/".join([*folders, file]),
    st.lists(st.sampled_from(FOLDERS), max_size=3),
    st.sampled_from(FILES),
)
trees = st.dictionaries(paths, st.sampled_from([PNG, PNG, PNG, b""]), min_size=1, max_size=8)


@settings(max_examples=80, deadline=None)
@given(files=trees, packed=st.booleans(), split=st.sampled_from([None, "."]))
def test_every_image_of_imagefolder_is_read_with_its_label_or_a_message_says_why_not(files, packed, split):
    with tempfile.TemporaryDirectory() as scratch:
        root = write_tree(Path(scratch, "source"), files)
        source = zip_tree(root, Path(scratch, "source.zip")) if packed else root
        try:
            reference = ImageFolder(str(root), allow_empty=True)
        except FileNotFoundError:  # no class folder
            reference = None
        try:
            images = open_images(source, split)
        except UsageError as refused:
            assert "\n" not in str(refused) and str(source) in str(refused)
            # Then it is read as ImageFolder does.
            assert split is None or any(
                words in str(refused) for words in ("has no images", "no class folders")
            )
            return
        assert reference is not None
        expected = {
            path.removeprefix(f"{root}/"): reference.classes[label] for path, label in reference.samples
        }
        read = {path: images.classes[label] for path, label in zip(images.paths, images.labels, strict=True)}
        said = [path for left_out in images.left_out.values() for path in left_out]
        for path, name in expected.items():
            if path in read:
                # In another folder than the source itself, the classes are those of the folder that it names.
                assert read[path] == (
                    name if not images.folder else path.removeprefix(f"{images.folder}/").split("/")[0]
                )
            else:
                assert any(path == other or path.startswith(f"{other}/") for other in said), (
                    path,
                    images.left_out,
                )
        assert read.keys() <= expected.keys()
        if not images.folder:
            order = [path.removeprefix(f"{root}/") for path, _ in reference.samples]
            assert images.paths == [path for path in order if path in read]


@settings(max_examples=50, deadline=None)
@given(
    labels=st.one_of(
        st.lists(st.integers(-2, 3) | st.just(10**12), min_size=1, max_size=6),
        st.lists(st.sampled_from(["cat", "dog", ""]) | st.none(), min_size=1, max_size=6),
        st.lists(st.booleans() | st.none(), min_size=1, max_size=6),
        st.lists(st.lists(st.integers(0, 2)), min_size=1, max_size=6),
    ),
    shards=st.integers(1, 3),
    groups=st.integers(1, 3),
)
def test_every_row_of_a_table_is_read_with_its_label_or_a_message_says_why_not(labels, shards, groups):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = list(enumerate(labels))
    table = pa.table({"image": [encoded(number) for number, _ in rows], "label": labels})
    size = -(-len(rows) // shards)
    with tempfile.TemporaryDirectory() as scratch:
        for shard, start in enumerate(range(0, len(rows), size)):
            pq.write_table(
                table.slice(start, size), Path(scratch, f"train-{shard}.parquet"), row_group_size=groups
            )
        try:
            images = open_images(scratch)
        except UsageError as refused:
            assert "\n" not in str(refused)
            nested, missing = isinstance(labels[0], list), None in labels
            assert nested or missing or set(labels) == {-1}, refused
            return
        assert [images.encoded(i) for i in range(len(images))] == [encoded(number) for number, _ in rows]
        assert [images.classes[label] for label in images.labels] == [str(label) for label in labels]
        order = sorted(set(labels))
        assert [name for name in images.classes if name in map(str, order)] == [str(label) for label in order]
