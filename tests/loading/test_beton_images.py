"""Single images out of a .beton are those that were written, with their labels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sadp_dist.data import open_images

pytest.importorskip("ffcv")

from sadp_dist.loading import write_beton
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
