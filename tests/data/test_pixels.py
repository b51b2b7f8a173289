"""The pixels of an image file mean the same after decoding, or the file is refused by its mode."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from sadp_dist.data import open_images
from sadp_dist.data.pixels import Unreadable, decode
from sadp_dist.errors import UsageError
from tests.data.image_trees import encoded, write_tree

RAMP = np.linspace(0, 1, 256).reshape(16, 16)


def file_of(image, kind="PNG", **options):
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def pixels(file, channels=3):
    return np.asarray(decode(file, channels))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "float TIFF"])
def test_16_bit_and_float_images_are_scaled_by_their_range(kind, channels):
    stored = RAMP.astype(np.float32) if kind == "float TIFF" else (RAMP * 65535).round().astype(np.uint16)
    levels = pixels(file_of(stored, kind.removeprefix("float ")), channels)
    expected = (RAMP * 255).round().astype(np.uint8)
    for channel in range(min(channels, 3)):
        grey = levels if channels == 1 else levels[..., channel]
        assert np.array_equal(grey, expected)
    assert channels < 4 or (levels[..., 3] == 255).all()


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (
            RAMP.astype(np.float32) * 2,
            "mode F: 32-bit float pixels from 0 to 2; only 0 to 1 has a known",
        ),
        (RAMP.astype(np.float32) - 1, "mode F: 32-bit float pixels from -1 to 0"),
        (np.full((2, 2), np.nan, np.float32), "mode F: .* from nan to nan"),
        ((RAMP * 1000).astype(np.int32), "mode I: 32-bit integer pixels have no known range"),
    ],
)
def test_pixels_without_a_known_range_are_refused_by_their_mode(tmp_path, array, reason):
    images = open_images(write_tree(tmp_path, {"a/x.tif": file_of(array, "TIFF")}))
    with pytest.raises(UsageError, match=rf"image a/x\.tif cannot be read \({reason}"):
        images[0]


RED = (200, 10, 30)
TRANSPARENT = Image.new("RGBA", (4, 4), (*RED, 0))


@pytest.mark.parametrize(
    ("image", "options", "rgba"),
    [
        (Image.new("RGB", (4, 4), RED), {}, (*RED, 255)),
        (Image.new("RGB", (4, 4), RED), {"transparency": RED}, (*RED, 0)),
        (TRANSPARENT, {}, (*RED, 0)),
        (Image.new("LA", (4, 4), (100, 7)), {}, (100, 100, 100, 7)),
        (Image.new("L", (4, 4), 100), {}, (100, 100, 100, 255)),
        (Image.new("1", (4, 4), 1), {}, (255, 255, 255, 255)),
        (Image.new("RGB", (4, 4), RED).quantize(), {}, (*RED, 255)),
        (Image.new("RGB", (4, 4), RED).quantize(), {"transparency": 0}, (*RED, 0)),
        (Image.new("RGB", (4, 4), RED).quantize(), {"transparency": b"\x40"}, (*RED, 64)),
    ],
)
def test_transparency_is_kept_as_a_fourth_channel_and_dropped_without_one(image, options, rgba):
    file = file_of(image, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pixels(file, 4)[1, 1].tolist() == list(rgba)
        assert pixels(file, 3)[1, 1].tolist() == list(rgba[:3])
        grey = np.dot(rgba[:3], (0.299, 0.587, 0.114))
        assert pixels(file, 1).shape == (4, 4)
        assert abs(int(pixels(file, 1)[1, 1]) - grey) <= 1


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "1"])
def test_other_modes_are_what_pillow_converts_them_to(mode):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).convert(mode)
    for channels, wanted in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        expected = image.convert("RGB").convert(wanted) if mode == "LAB" else image.convert(wanted)
        assert np.array_equal(pixels(file_of(image, "TIFF"), channels), np.asarray(expected))


def test_an_exif_orientation_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    wide = Image.new("RGB", (9, 4), RED)
    assert pixels(file_of(wide, "JPEG", exif=exif)).shape == (4, 9, 3)


def test_the_first_of_several_pages_is_read():
    pages = [Image.new("L", (4, 4), grey) for grey in (10, 200)]
    file = file_of(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert (pixels(file) == 10).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_source_delivers_the_channels_that_are_asked_for(tmp_path, channels):
    images = open_images(write_tree(tmp_path, ["a/0.png"]), channels=channels)
    assert images[0][0].mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]


def test_another_number_of_channels_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"channels=2: must be 1 \(grey\), 3 \(RGB\) or 4 \(RGBA\)"):
        open_images(write_tree(tmp_path, ["a/0.png"]), channels=2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer; run: git lfs pull"),
        (b"<html>not found</html>", "damaged, or a format that Pillow does not know"),
        (encoded()[:-30], "truncated"),
        (encoded()[:50] + b"\0" * 20 + encoded()[70:], "."),
        (encoded(kind="JPEG")[:300], "."),
    ],
)
def test_what_is_no_image_is_refused_with_a_reason_of_one_line(content, reason):
    with pytest.raises(Unreadable, match=reason) as refused:
        decode(content, 3)
    assert "\n" not in str(refused.value) and "0x" not in str(refused.value)
