"""A .beton holds the source's images, labels and indices; what is wrong with one is said in one line."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from PIL import Image

from sadp_dist.data import open_images
from sadp_dist.errors import UsageError

pytest.importorskip("ffcv")

from ffcv.types import ALLOC_TABLE_TYPE, HeaderType

from sadp_dist.loading import (
    FFCVLoader,
    SequentialShard,
    beton_fields,
    beton_labels,
    beton_size,
    write_beton,
)
from sadp_dist.loading.beton import IMAGE, column, open_beton


def read(path, **options):
    """Every image and label of a file, in order."""
    loader = FFCVLoader(path, SequentialShard(beton_size(path), 100, 0, 1), **options)
    batches = list(loader)
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def test_it_holds_every_image_label_and_index(digits, digits_beton):
    source = open_images(digits)
    pixels, labels, index, _ = read(digits_beton)
    assert np.array_equal(index, np.arange(500))
    assert np.array_equal(labels, source.labels)
    for i, image in enumerate(pixels):
        assert np.array_equal(image.transpose(1, 2, 0), np.asarray(source[i][0]))


def test_its_metadata_is_read_without_its_images(digits, digits_beton):
    assert beton_size(digits_beton) == 500
    assert beton_fields(digits_beton) == {
        "image": "RGBImageField",
        "label": "IntField",
        "index": "IntField",
    }
    assert np.array_equal(beton_labels(digits_beton), open_images(digits).labels)


@pytest.mark.parametrize("kind", ["zip", "parquet", "list"])
def test_a_zip_parquet_and_a_list_give_the_same_file_as_the_folder(digits, digits_beton, tmp_path, kind):
    folder = open_images(digits)
    if kind == "zip":
        source = tmp_path / "digits.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in folder.paths:
                archive.write(digits / path, path)
    elif kind == "parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        source = tmp_path / "digits.parquet"
        images = [{"bytes": folder.encoded(i), "path": None} for i in range(500)]
        pq.write_table(pa.table({"image": images, "label": folder.labels}), source, row_group_size=90)
    else:
        source = [folder[i] for i in range(500)]
    write_beton(source, tmp_path / "out.beton", workers=1)
    written, expected = open_beton(tmp_path / "out.beton"), open_beton(digits_beton)
    assert np.array_equal(beton_labels(tmp_path / "out.beton"), beton_labels(digits_beton))
    assert np.array_equal(stored_images(written), stored_images(expected))


def stored_images(reader):
    data = np.fromfile(reader.file_name, dtype=np.uint8)
    sizes = dict(zip(reader.alloc_table["ptr"], reader.alloc_table["size"], strict=True))
    return [data[int(p) : int(p) + int(sizes[p])].tobytes() for p in column(reader, IMAGE)["data_ptr"]]


def photographs(sizes):
    """Smooth pictures, which JPEG keeps, of different sizes: (width, height)."""
    pictures = []
    for k, (width, height) in enumerate(sizes):
        x, y = np.linspace(0, 1, width)[None], np.linspace(0, 1, height)[:, None]
        red, green, blue = 255 * x * (y + 1) / 2, 255 * y * np.ones_like(x), 25.0 * k * np.ones_like(x * y)
        pictures.append((np.stack([red, green, blue], axis=-1).astype(np.uint8), k))
    return pictures


@pytest.mark.parametrize(
    ("image_format", "modes"), [("raw", [1, 1, 1]), ("jpg", [0, 0, 0]), ("smart", [0, 1, 0])]
)
def test_smart_stores_small_images_raw_and_large_ones_as_jpeg(tmp_path, image_format, modes):
    out = tmp_path / "photographs.beton"
    write_beton(photographs([(300, 200), (40, 30), (150, 400)]), out, image_format=image_format)
    assert column(open_beton(out), IMAGE)["mode"].tolist() == modes


def test_max_side_makes_larger_images_smaller_and_keeps_their_shape(tmp_path):
    out = tmp_path / "photographs.beton"
    write_beton(photographs([(300, 200), (40, 30), (150, 400)]), out, max_side=100)
    stored = column(open_beton(out), IMAGE)
    sizes = list(zip(stored["width"].tolist(), stored["height"].tolist(), strict=True))
    assert sizes == [(100, 66), (40, 30), (37, 100)]


def test_quality_trades_size_for_detail(digits, tmp_path):
    sizes = {}
    for quality in (20, 95):
        out = tmp_path / f"{quality}.beton"
        write_beton(photographs([(300, 200)] * 3), out, image_format="jpg", quality=quality)
        sizes[quality] = open_beton(out).alloc_table["size"].sum()
    assert sizes[20] < sizes[95] / 2


def test_a_damaged_image_stops_the_writing_names_the_file_and_leaves_nothing(digits, tmp_path):
    source = tmp_path / "source"
    (source / "a").mkdir(parents=True)
    for i in range(300):
        Image.new("RGB", (8, 8)).save(source / "a" / f"{i:03d}.png")
    damaged = source / "a" / "150.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    out = tmp_path / "out" / "digits.beton"
    out.parent.mkdir()
    out.write_bytes(b"an older file")
    with pytest.raises(UsageError, match=r"image a/150\.png cannot be read") as caught:
        write_beton(source, out)
    assert "\n" not in str(caught.value)
    assert [path.name for path in out.parent.iterdir()] == ["digits.beton"]
    assert out.read_bytes() == b"an older file"


def test_a_writing_process_that_is_killed_is_an_error_and_not_a_wait(tmp_path):
    with pytest.raises(RuntimeError, match="died with exit status -9"):
        write_beton(Deadly(), tmp_path / "out.beton")
    assert list(tmp_path.iterdir()) == []


class Deadly:
    """A dataset that kills the process that reads it."""

    def __len__(self):
        return 250

    def __getitem__(self, index):
        import os
        import signal

        if index == 120:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros((8, 8, 3), np.uint8), 0


def test_an_image_too_large_for_a_page_says_what_to_do(tmp_path):
    with pytest.raises(UsageError, match="give max_side"):
        write_beton([(np.zeros((1800, 1800, 3), np.uint8), 0)], tmp_path / "out.beton", image_format="raw")


def test_pixels_of_another_kind_are_refused(tmp_path):
    for pixels in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((3, 8, 8), np.uint8)):
        with pytest.raises(UsageError, match=r"image 0 is .*; must be PIL or uint8 \(H, W, 3\)"):
            write_beton([(pixels, 0)], tmp_path / "out.beton")
    with pytest.raises(UsageError, match="^split='train': only a source that is a path"):
        write_beton([(np.zeros((8, 8, 3), np.uint8), 0)], tmp_path / "out.beton", split="train")


def test_progress_adds_up_to_the_images_written(digits, tmp_path):
    written = []
    write_beton(digits, tmp_path / "out.beton", progress=written.append)
    assert sum(written) == 500


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"image_format": "png"}, "^image_format='png': must be 'raw', 'jpg' or 'smart'$"),
        ({"max_side": 0}, "^max_side=0: must be at least 1 pixel, or left out$"),
        ({"quality": 101}, "^quality=101: must be from 1 to 100$"),
        ({"workers": 0}, "^workers=0: must be at least 1$"),
        ({"split": "train"}, "^split 'train' is not in "),
    ],
)
def test_an_option_out_of_range_is_one_line(digits, tmp_path, option, message):
    with pytest.raises(UsageError, match=message):
        write_beton(digits, tmp_path / "out.beton", **option)


def test_a_file_cut_short_anywhere_is_refused(digits_beton, tmp_path):
    whole = digits_beton.read_bytes()
    assert beton_size(digits_beton) == 500
    cut = tmp_path / "cut.beton"
    for kept in (1, 23, 2000, 5000, 20_000, len(whole) // 2, len(whole) - 24, len(whole) - 1):
        cut.write_bytes(whole[:kept])
        with pytest.raises(UsageError, match=r"is truncated|is not a \.beton"):
            beton_size(cut)


def header(name, value):
    def damage(data, reader):
        data[: HeaderType.itemsize].view(HeaderType)[name] = value

    return damage


def table(name, value, row=7):
    def damage(data, reader):
        start = int(reader.header["alloc_table_ptr"])
        data[start:].view(ALLOC_TABLE_TYPE)[name][row] = value

    return damage


def image(name, value, row=7):
    def damage(data, reader):
        start = HeaderType.itemsize + reader.field_descriptors.nbytes
        metadata = data[start : start + reader.metadata.nbytes].view(reader.metadata.dtype)
        metadata[f"f{reader.field_names.index(IMAGE)}"][name][row] = value

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (image("data_ptr", 1 << 40), "field 'image' of example 7 of 500 is not where it says"),
        (image("data_ptr", 0), "field 'image' of example 7 of 500 is not where it says"),
        (image("width", 4000), "or of another size"),
        (image("height", 0), "or of another size"),
        (table("ptr", 1 << 40), "its table points outside of the file"),
        (table("ptr", 2**64 - 8), "its table points outside of the file"),
        (table("size", 1 << 40), "its table points outside of the file"),
        (table("sample_id", 500), "its table names an example beyond the 500"),
        (header("num_samples", 1 << 60), "more than it has bytes"),
        (header("num_samples", 100_000), "is truncated"),
        (header("alloc_table_ptr", 1 << 60), r"is truncated|is not a \.beton"),
        (header("page_size", 0), "its pages have no bytes"),
    ],
)
def test_a_file_that_points_outside_of_itself_is_refused_in_one_line(digits_beton, tmp_path, damage, message):
    data = np.fromfile(digits_beton, np.uint8)
    damage(data, open_beton(digits_beton))
    bad = tmp_path / "bad.beton"
    data.tofile(bad)
    for use in (beton_size, beton_labels, lambda path: FFCVLoader(path, SequentialShard(500, 100, 0, 1))):
        with pytest.raises(UsageError, match=message) as refused:
            use(bad)
        assert "\n" not in str(refused.value)


def test_a_missing_file_and_one_of_another_kind_are_refused(digits, tmp_path):
    with pytest.raises(UsageError, match=r"none\.beton' does not exist; write it with: sadp-dist beton"):
        beton_labels(tmp_path / "none.beton")
    text = tmp_path / "text.beton"
    for content in (b"", b"not a .beton " * 1000, bytes(5000)):
        text.write_bytes(content)
        with pytest.raises(UsageError, match=r"is not a \.beton"):
            beton_labels(text)


def write_with_ffcv(path, fields, rows):
    from ffcv.writer import DatasetWriter

    DatasetWriter(str(path), fields, num_workers=1).from_indexed_dataset(rows)
    return path


def test_a_file_without_an_index_is_refused_with_one_line(tmp_path):
    from ffcv.fields import IntField, RGBImageField

    pixels = np.zeros((4, 4, 3), np.uint8)
    fields = {"image": RGBImageField(), "label": IntField()}
    path = write_with_ffcv(tmp_path / "plain.beton", fields, [(pixels, 0)] * 8)
    with pytest.raises(UsageError, match="has no field 'index', only image, label; write it with: sadp-dist"):
        FFCVLoader(path, SequentialShard(8, 4, 0, 1))


def test_a_file_in_another_order_is_read_by_its_index_field(tmp_path):
    from ffcv.fields import IntField, RGBImageField

    fields = {"index": IntField(), "image": RGBImageField(), "label": IntField()}
    order = np.random.default_rng(0).permutation(20).tolist()
    rows = [(i, np.full((4, 4, 3), i, np.uint8), i % 3) for i in order]
    path = write_with_ffcv(tmp_path / "shuffled.beton", fields, rows)
    assert beton_labels(path).tolist() == [i % 3 for i in range(20)]
    pixels, labels, index, _ = read(path)
    assert index.tolist() == list(range(20)) == pixels[:, 0, 0, 0].tolist()
    assert labels.tolist() == [i % 3 for i in range(20)]
    doubled = write_with_ffcv(tmp_path / "doubled.beton", fields, rows + rows)
    with pytest.raises(UsageError, match="field 'index' must have each of 0 to 39 once"):
        beton_labels(doubled)
