"""Events become frames as a plain count says, and files of events are read back as they were written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sadp_dist.data.aedat_files import write_aedat2, write_aedat3
from sadp_dist.data.event_frames import Frames, load_npz
from sadp_dist.data.simulated_event_camera import film
from sadp_dist.data.spikingjelly_readers import reader
from sadp_dist.errors import UsageError


def events_of(seed, size, height=128, width=128):
    random = np.random.default_rng(seed)
    draw = {"x": random.integers(0, width, size), "y": random.integers(0, height, size)}
    return {"t": np.sort(random.integers(0, 2**31, size)), **draw, "p": random.integers(0, 2, size)}


def same(first, second):
    return all(np.array_equal(first[key], second[key]) for key in ("t", "x", "y", "p"))


seeds, sizes = st.integers(0, 2**32 - 1), st.integers(0, 300)


@settings(max_examples=15)
@given(seeds, sizes)
def test_aedat_files_are_read_back_by_spikingjelly(tmp_path_factory, seed, size):
    events, path = events_of(seed, size), tmp_path_factory.mktemp("events") / "file.aedat"
    write_aedat2(path, events)
    assert same(reader("cifar10_dvs")._load_origin_data(path), events)
    write_aedat3(path, events, per_packet=64)
    assert same(reader("utils").load_aedat_v3(path), events)


def test_npz_files_are_read_back(tmp_path):
    events = events_of(0, 100)
    np.savez(tmp_path / "events.npz", **events)
    assert same(load_npz(tmp_path / "events.npz"), events)


def counted(events, time_steps, height, width):
    """Event after event, as many in each frame, what is left over in the last one."""
    frames, each = np.zeros((time_steps, 2, height, width)), len(events["t"]) // time_steps
    for i, (x, y, p) in enumerate(zip(events["x"], events["y"], events["p"], strict=True)):
        frames[min(i // each, time_steps - 1) if each else time_steps - 1, p, y, x] += 1
    return frames


@settings(max_examples=25)
@given(seeds, st.integers(0, 300), st.integers(1, 7), st.integers(1, 9), st.integers(1, 9))
def test_frames_count_the_events_of_each_pixel(seed, size, time_steps, height, width):
    events, frames = events_of(seed, size, height, width), Frames(time_steps, height, width)
    out = frames.of(events)
    assert out.dtype == np.uint8 and out.shape == frames.shape == (time_steps, 2, height, width)
    np.testing.assert_array_equal(out, counted(events, time_steps, height, width))


def test_a_pixel_counts_to_255():
    events = {key: np.zeros(300, int) for key in ("t", "x", "y", "p")}
    assert Frames(1, 2, 2).of(events)[0, 0].tolist() == [[255, 0], [0, 0]]


def test_smaller_frames_are_those_of_an_antialiased_bilinear_filter():
    events, frames = events_of(1, 40_000, 26, 34), Frames(3, 26, 34, side=12)
    out = frames.of(events)
    assert out.dtype == np.float16 and out.shape == frames.shape == (3, 2, 12, 12)
    whole = torch.from_numpy(counted(events, 3, 26, 34)).float()
    expected = torch.nn.functional.interpolate(whole, (12, 12), mode="bilinear", antialias=True)
    np.testing.assert_allclose(out, expected.numpy(), rtol=2e-3)


def brighter_to_the_right():
    """Grey values whose logarithm rises evenly from left to right."""
    rising = np.exp(np.linspace(np.log(0.1), np.log(1.05), 97)) - 0.05
    return Image.fromarray(np.tile((255 * rising).round().astype(np.uint8), (97, 1)))


def test_an_image_that_moves_makes_as_many_events_as_its_brightness_changes():
    events = film(brighter_to_the_right(), height=88, width=88, loops=3, threshold=0.02)
    assert (np.diff(events["t"]) >= 0).all() and events["t"][0] >= 0 and events["t"][-1] < 3 * 200_000
    assert min(events["x"].min(), events["y"].min()) >= 0 and max(events["x"].max(), events["y"].max()) < 88
    # Over an edge the logarithm changes by 4 / 96 of ln(10.5), which is 4.9 thresholds; an edge is 4 pixels.
    per_pixel = len(events["t"]) / (88 * 88 * 3 * 4)
    assert 3.5 < per_pixel < 5
    moved_right = (events["t"] % 200_000) < 50_000  # so that a pixel sees what is further to the left: darker
    assert events["p"][moved_right].mean() < 0.05
    assert abs(events["p"].mean() - 0.5) < 0.05


def test_a_blank_image_makes_no_event_and_a_film_repeats():
    assert len(film(Image.new("RGB", (32, 32), (90, 90, 90)))["t"]) == 0
    one, two = (film(brighter_to_the_right(), 30, 30, loops) for loops in (1, 2))
    assert same(one, {key: values[: len(one["t"])] for key, values in two.items()})


def test_a_reader_that_cannot_be_imported_is_one_line():
    with pytest.raises(
        UsageError, match="^SpikingJelly's reader of event files cannot be imported: No module"
    ):
        reader("none")
