"""Single images out of a .beton are those that were written, with their labels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sadp_dist.data import open_images

pytest.importorskip("ffcv")

from sadp_dist.loading import write_arrays, write_beton
from sadp_dist.loading.beton_images import BetonImages


def test_raw_images_are_the_same_bit_for_bit(digits, digits_beton):
    written, read = open_images(digits), BetonImages(digits_beton)
    assert len(read) == len(written)
    for index in range(0, len(written), 37):
        assert read[index] == written[index]


def test_jpegs_are_decoded_in_their_colours_and_size(tmp_path):
    image = Image.fromarray(np.full((40, 64, 3), (220, 30, 90), np.uint8))
    write_beton([(image, 3)] * 2, tmp_path / "red.beton", image_format="jpg")
    read, label = BetonImages(tmp_path / "red.beton")[1]
    assert (read.size, label) == ((64, 40), 3)
    np.testing.assert_allclose(np.asarray(read).reshape(-1, 3).mean(axis=0), (220, 30, 90), atol=4)


def test_of_arrays_there_are_pictures(tmp_path):
    frames = np.zeros((2, 3, 2, 4, 5), np.uint8)
    frames[0, 1, 1, 2, 3] = frames[1, 0, 0, 1, 1] = 9
    write_arrays([(frames[0], 5), (frames[1], 6)], tmp_path / "frames.beton", workers=1)
    images = BetonImages(tmp_path / "frames.beton")
    assert len(images) == 2
    red, blue = (np.asarray(image) for image, _ in images)
    assert red[2, 3].tolist() == [255, 0, 0] and blue[1, 1].tolist() == [0, 0, 255]
    assert [label for _, label in images] == [5, 6]
