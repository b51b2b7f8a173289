"""PIL images of a user's own dataset keep the meaning of their pixels when they are written."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sadp_dist.errors import UsageError
from sadp_dist.loading.image_pixels import pixels_of

RAMP = np.linspace(0, 1, 256).reshape(16, 16)


@pytest.mark.parametrize("scale", [1.0, 65535])
def test_deep_images_are_scaled_by_their_range(scale):
    dtype = np.float32 if scale == 1.0 else np.uint16
    image = Image.fromarray((RAMP * scale).astype(dtype))
    expected = np.arange(256).reshape(16, 16)
    assert np.abs(pixels_of(image, 1, 0) - expected).max() <= 1
    assert pixels_of(image, 3, 0).shape == (16, 16, 3)


def test_floats_without_a_known_range_are_refused_with_their_index():
    with pytest.raises(UsageError, match=r"source: image 7 cannot be stored \(mode F: .* from 0 to 9"):
        pixels_of(Image.fromarray((RAMP * 9).astype(np.float32)), 3, 7)


def test_an_array_stays_as_it_is():
    assert pixels_of(RAMP, 3, 0) is RAMP
