"""Labelled images read the same from a folder, a .zip of it and parquet; mistakes are named in one line."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from sadp_dist.data import open_images
from sadp_dist.errors import MissingExtra, UsageError


def picture(number):
    """An image that tells which one it is."""
    pixels = np.random.default_rng(number).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def folder(tmp_path):
    """dog/ and cat/ with nested folders, capital endings and files that are no images."""
    root = tmp_path / "images"
    names = ["dog/b.png", "dog/a.PNG", "cat/z.png", "cat/deep/c.png", "cat/10.png", "cat/9.png"]
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(root / name)
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "cat" / ".hidden.png").write_bytes(b"")
    return root


def zipped(folder, path, inside=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, f"{inside}{file.relative_to(folder).as_posix()}")
    return path


def as_parquet(images, path, struct=True, names=True, **options):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    data = [images.encoded(i) for i in range(len(images))]
    column = [{"bytes": d, "path": f"{i}.png"} for i, d in enumerate(data)] if struct else data
    table = pa.table({"image": column, "label": images.labels})
    if names:
        classes = ", ".join(f'"{name}"' for name in images.classes)
        features = f'{{"info": {{"features": {{"label": {{"names": [{classes}]}}}}}}}}'
        table = table.replace_schema_metadata({"huggingface": features})
    pq.write_table(table, path, **options)
    return path


def content(images):
    return [(np.asarray(image).tobytes(), label) for image, label in (images[i] for i in range(len(images)))]


def test_a_folder_is_read_in_the_order_of_torchvisions_imagefolder(folder):
    images, reference = open_images(folder), ImageFolder(str(folder))
    reference.imgs = [entry for entry in reference.imgs if ".hidden" not in entry[0]]
    assert [str(folder / path) for path in images.paths] == [path for path, _ in reference.imgs]
    assert images.labels.tolist() == [label for _, label in reference.imgs] == [0, 0, 0, 0, 1, 1]
    assert images.classes == reference.classes == ["cat", "dog"]
    assert images.labels.dtype == np.int64
    assert len(images) == 6


@pytest.mark.parametrize("inside", ["", "pets/"])
def test_a_zip_gives_what_its_folder_gives(folder, tmp_path, inside):
    images = open_images(zipped(folder, tmp_path / "images.zip", inside))
    expected = open_images(folder)
    assert content(images) == content(expected)
    assert images.classes == expected.classes
    assert images.paths == [inside + path for path in expected.paths]
    assert images.encoded(3) == expected.encoded(3)


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_gives_what_its_folder_gives(folder, tmp_path, struct):
    expected = open_images(folder)
    images = open_images(as_parquet(expected, tmp_path / "train.parquet", struct, row_group_size=4))
    assert content(images) == content(expected)
    assert images.classes == expected.classes
    assert images.encoded(-1) == expected.encoded(5)


def test_a_folder_of_parquet_is_its_files_one_after_another_and_a_split_the_files_so_named(folder, tmp_path):
    expected = open_images(folder)
    for name in ("test-0.parquet", "train-0.parquet", "train-1.parquet"):
        as_parquet(expected, tmp_path / name, names=False)
    assert content(open_images(tmp_path, "train")) == 2 * content(expected)
    assert open_images(tmp_path, "train").classes == ["0", "1"]
    assert content(open_images(tmp_path, "test")) == content(expected)
    with pytest.raises(UsageError, match="has the splits test, train; choose one with split="):
        open_images(tmp_path)
    with pytest.raises(UsageError, match="split 'val' is not in .*; it has: test, train"):
        open_images(tmp_path, "val")


def in_another_process(images):
    return content(images)


@pytest.mark.parametrize("kind", ["folder", "zip", "parquet"])
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_other_processes_read_it_while_this_one_does(folder, tmp_path, kind, start):
    images = open_images(folder)
    if kind == "zip":
        images = open_images(zipped(folder, tmp_path / "images.zip"))
    elif kind == "parquet":
        images = open_images(as_parquet(images, tmp_path / "images.parquet"))
    expected = content(images)
    if start == "spawn":
        assert content(pickle.loads(pickle.dumps(images))) == expected
        return
    with multiprocessing.get_context(start).Pool(2) as pool:
        assert pool.map(in_another_process, [images] * 8, chunksize=1) == [expected] * 8
    queue = multiprocessing.get_context("fork").SimpleQueue()
    process = multiprocessing.get_context("fork").Process(target=lambda: queue.put(content(images)))
    process.start()
    assert content(images) == expected
    assert queue.get() == expected
    process.join()


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_split_is_a_folder_above_the_classes(folder, tmp_path, kind):
    root = tmp_path / "splits"
    shutil.copytree(folder, root / "train")
    shutil.copytree(folder / "dog", root / "test" / "dog")
    source = zipped(root, tmp_path / "splits.zip") if kind == "zip" else root
    assert content(open_images(source, "train")) == content(open_images(folder))
    assert open_images(source, "test").paths == ["test/dog/a.PNG", "test/dog/b.png"]
    with pytest.raises(UsageError, match="has the splits test, train; choose one with split="):
        open_images(source)
    with pytest.raises(UsageError, match=r"split 'val' is not in .*; it has: test, train$"):
        open_images(source, "val")
    shutil.rmtree(root / "test")
    assert content(open_images(root)) == content(open_images(folder))


@pytest.mark.parametrize("kind", ["folder", "zip", "archive of one folder", "parquet"])
@pytest.mark.parametrize("splits", [("train", "test"), ("day", "night")])
def test_a_class_has_one_number_in_every_split_of_a_source(tmp_path, kind, splits):
    root = tmp_path / "splits"
    for split, classes in zip(splits, (("a", "b", "c"), ("a", "c", "d")), strict=True):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            picture(0).save(root / split / name / "0.png")
    source = root
    if kind == "parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        source = tmp_path / "parquet"
        source.mkdir()
        for split in splits:
            names = [folder.name for folder in sorted((root / split).iterdir())]
            files = [(root / split / name / "0.png").read_bytes() for name in names]
            pq.write_table(pa.table({"image": files, "label": names}), source / f"{split}-0.parquet")
        pq.write_table(pa.table({"image": files}), source / "unlabelled.parquet")
    elif kind != "folder":
        source = zipped(root, tmp_path / "splits.zip", inside="" if kind == "zip" else "pets/")
    first, second = (open_images(source, split) for split in splits)
    assert first.classes == second.classes == ["a", "b", "c", "d"]
    assert (first.labels.tolist(), second.labels.tolist()) == ([0, 1, 2], [0, 2, 3])


def test_a_folder_beside_the_splits_that_is_none_adds_no_class(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "new" / "train")
    shutil.copytree(folder / "dog", tmp_path / "new" / "docs" / "figures")
    assert open_images(tmp_path / "new", "train").classes == ["cat", "dog"]


def test_labels_of_parquet_are_numbered_over_all_its_files(folder, tmp_path):
    images = open_images(folder)
    as_parquet(images, tmp_path / "train-0.parquet", names=False)
    images.labels = np.full(len(images), 3)
    as_parquet(images, tmp_path / "test-0.parquet", names=False)
    images.labels = np.full(len(images), -1)  # as Hugging Face marks an unlabelled split
    as_parquet(images, tmp_path / "val-0.parquet", names=False)
    train = open_images(tmp_path, "train")
    assert train.classes == ["0", "1", "3"]
    assert train.labels.tolist() == [0, 0, 0, 0, 1, 1]


def test_every_image_comes_out_as_rgb(tmp_path):
    (tmp_path / "a").mkdir()
    for mode in ("L", "RGBA", "P", "CMYK", "1"):
        Image.new("RGB", (4, 3), (255, 255, 255)).convert(mode).save(tmp_path / "a" / f"{mode}.tif")
    images = open_images(tmp_path)
    assert len(images) == 5
    for i in range(5):
        assert images[i][0].mode == "RGB"
        assert (np.asarray(images[i][0]) == 255).all()


def damaged():
    encoded = io.BytesIO()
    picture(0).save(encoded, "PNG")
    return encoded.getvalue()[:-30]


@pytest.mark.parametrize("kind", ["folder", "zip", "parquet"])
def test_a_damaged_image_is_named(folder, tmp_path, kind):
    (folder / "cat" / "9.png").write_bytes(damaged())
    source, name = folder, r"cat/9\.png"
    if kind == "zip":
        source = zipped(folder, tmp_path / "images.zip")
    elif kind == "parquet":
        source, name = as_parquet(open_images(folder), tmp_path / "images.parquet"), r"images\.parquet, row 1"
    images = open_images(source)
    images[0]
    with pytest.raises(UsageError, match=f"image {name} cannot be read") as caught:
        images[1]
    assert "\n" not in str(caught.value)


def test_a_source_that_is_not_there_or_holds_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="none' does not exist; give a folder"):
        open_images(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="empty' has no images"):
        open_images(tmp_path / "empty")
    picture(0).save(tmp_path / "empty" / "loose.png")
    with pytest.raises(UsageError, match="has images, but no class folders; expected <class>/<image>"):
        open_images(tmp_path / "empty")
    for name in ("text.zip", "text.parquet", "text.tar"):
        (tmp_path / name).write_text("neither")
        with pytest.raises(UsageError, match=r"read"):
            open_images(tmp_path / name)


def test_parquet_without_the_columns_says_which_it_has(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"picture": [b""], "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="no column 'image' or 'img'; it has: picture, label"):
        open_images(tmp_path / "a.parquet")
    pq.write_table(pa.table({"image": [b""], "label": [-1]}), tmp_path / "b.parquet")
    with pytest.raises(UsageError, match="label column 'label' has 1 label below 0 in 1 rows"):
        open_images(tmp_path / "b.parquet")


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    program = (
        "import sys; sys.modules['pyarrow'] = None; sys.modules['pyarrow.parquet'] = None\n"
        "from sadp_dist.data import open_images\n"
        "try: open_images(sys.argv[1])\n"
        "except ImportError as error: print(error)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.parquet")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == f"{MissingExtra('pyarrow', 'parquet')}\n"
