"""Sequences as pictures: red and blue events, grey for the rest, black where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from sadp_dist.data.draw_sequence import draw_sequence


def test_brightening_events_are_red_and_darkening_ones_blue_summed_over_time():
    frames = np.zeros((3, 2, 4, 5), np.uint8)
    frames[0, 1, 1, 2] = frames[2, 1, 1, 2] = 2
    frames[1, 0, 3, 4] = 4
    pixels = np.asarray(draw_sequence(frames))
    assert pixels.shape == (4, 5, 3)
    assert pixels[1, 2].tolist() == [255, 0, 0] and pixels[3, 4].tolist() == [0, 0, 255]
    assert pixels.sum() == 2 * 255


@pytest.mark.parametrize(("shape", "size"), [((3, 1, 4, 5), (5, 4)), ((6, 9), (6, 9)), ((7,), (7, 1))])
def test_other_sequences_are_grey(shape, size):
    drawn = draw_sequence(np.arange(np.prod(shape)).reshape(shape).astype(np.float16) - 3)
    assert drawn.size == size
    pixels = np.asarray(drawn)
    assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()


def test_the_first_feature_is_at_the_bottom_and_time_goes_to_the_right():
    features = np.zeros((4, 3), np.float32)
    features[3, 0] = 1
    assert np.argwhere(np.asarray(draw_sequence(features))[..., 0]).tolist() == [[2, 3]]


def test_nothing_is_black():
    assert not np.asarray(draw_sequence(np.zeros((3, 2, 4, 5)))).any()
