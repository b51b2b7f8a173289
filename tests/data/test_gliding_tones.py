"""Generated sounds: the same again, and told apart by their order in time."""

import numpy as np
import pytest

from sadp_dist.data.gliding_tones import ENDS, GlidingTones


def test_a_sound_is_the_same_each_time_and_another_in_the_other_split():
    train, again, test = GlidingTones("train", 30), GlidingTones("train", 20), GlidingTones("test", 30)
    for index in (0, 13):
        features, label = train[index]
        assert features.shape == (train.time_steps, 40) == (26, 40)
        assert features.dtype == np.float32
        assert label == train.labels[index] == index % 12
        np.testing.assert_array_equal(features, again[index][0])
        assert np.abs(features - test[index][0]).max() > 0.5


def test_two_orders_of_the_same_frequencies_are_two_classes():
    sounds = GlidingTones("train", 600)
    up = sounds.classes.index(f"{ENDS[0]:.0f} to {ENDS[3]:.0f} Hz")
    down = sounds.classes.index(f"{ENDS[3]:.0f} to {ENDS[0]:.0f} Hz")

    def centres(label):
        """The mean band in the first and in the second half, over all sounds of a class."""
        features = np.mean([sounds[i][0] for i in np.flatnonzero(sounds.labels == label)], axis=0)
        weights = np.exp(features)
        bands = (weights * np.arange(40)).sum(axis=1) / weights.sum(axis=1)
        return bands[:13].mean(), bands[13:].mean()

    (rises_from, rises_to), (falls_from, falls_to) = centres(up), centres(down)
    assert rises_to - rises_from > 0.4
    assert falls_to - falls_from < -0.4
    assert rises_from + rises_to == pytest.approx(falls_from + falls_to, rel=0.03)
