"""Runs on sequences from a .beton: frames of events and features of sound go to the network as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sadp_dist.data.simulated_event_camera import film_dataset
from sadp_dist.errors import UsageError
from sadp_dist.training import parse_config
from sadp_dist.training.processes import Process
from sadp_dist.training.run import train
from sadp_dist.training.sequences import laid_out, merged, time_first
from sadp_dist.training.trainer import Trainer

pytest.importorskip("ffcv")

from sadp_dist.loading import write_arrays

T, SIDE, CLASSES = 3, 8, 3


def moving(shape, size, seed):
    """Counts of events of a bar at a place that the class says, at each time step one further."""
    random = np.random.default_rng(seed)
    examples = []
    for i in range(size):
        frames, label = random.poisson(0.3, shape).astype(np.uint8), i % CLASSES
        for t in range(shape[0]):
            frames[t, ..., 2 * label + t] += 4
        examples.append((frames, label))
    return examples


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences")
    for seed, (name, size) in enumerate((("train", 240), ("test", 60))):
        write_arrays(moving((T, 2, SIDE, SIDE), size, seed), folder / f"{name}.beton", workers=1)
    write_arrays(moving((T + 1, 2, SIDE, SIDE), 30, 3), folder / "longer.beton", workers=1)
    write_arrays([(np.zeros((T, 2, 4, 6), np.uint8), 0)] * 3, folder / "oblong.beton", workers=1)
    write_arrays([(np.zeros((T, 12), np.float32), 0)] * 3, folder / "sound.beton", workers=1)
    pixels = [(np.zeros((SIDE, SIDE, 3), np.uint8), 0)] * 3
    from sadp_dist.loading import write_beton

    write_beton(pixels, folder / "images.beton", workers=1)
    return folder


@pytest.fixture
def config(folder, tmp_path):
    def make(train="train", test="test", time_steps=T, scoring=None, training=None, **data):
        paths = {"train": str(folder / train), "test": str(folder / test)}
        paths = {split: path if Path(path).is_dir() else f"{path}.beton" for split, path in paths.items()}
        return parse_config(
            {
                "name": "run",
                "output": str(tmp_path / "run"),
                "data": {**paths, **data},
                "network": {"name": "small_cnn", "time_steps": time_steps},
                "training": {
                    "epochs": 2,
                    "batch_size": 10,
                    "optimizer": "adamw",
                    "learning_rate": 0.005,
                    **(training or {}),
                },
                "pruning": {"ratio": 0.3, "max_ratio": 0.5, "min_probability": 0.3},
                "scoring": scoring or {},
                "tracking": {"trackers": []},
            }
        )

    return make


def test_a_run_on_event_frames_learns_prunes_and_scores(config):
    summary = train(config(image_size=SIDE))  # which the frames have: it may be given
    assert summary["test_accuracy"] > 0.9 and summary["test_examples"] == 60
    assert summary["total_examples"] < 2 * 240


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({"scoring": {"layers": "all"}}, {}),
        ({"training": {"channels_last": True}}, {"page_window": 4}),
    ],
    ids=["all layers", "by pages, channels last"],
)
def test_every_layer_scores_and_pages_and_memory_formats_work(config, options, more):
    assert train(config(**options, **more))["test_accuracy"] > 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"time_steps": 4},
            r"^network.time_steps=4, but .*train.beton has 3 time steps \(3 x 2 x 8 x 8\); set network",
        ),
        (
            {"augment": "crop"},
            "^data.augment=crop applies to images .*train.beton has sequences .*; remove data.augment$",
        ),
        (
            {"augment": "resized-crop"},
            "^data.augment=resized-crop applies to images only, but .* has sequences",
        ),
        (
            {"autoaugment": "cifar10"},
            "^data.autoaugment=cifar10 applies to images only, but .* has sequences",
        ),
        ({"mean": [1, 2, 3]}, "^data.mean=.* applies to images only, but .* has sequences"),
        ({"image_size": 16}, "^data.image_size=16 applies to images only, but .* has sequences"),
        ({"test": "longer"}, "^network.time_steps=3, but .*longer.beton has 4 "),
        (
            {"train": "oblong", "test": "oblong"},
            "oblong.beton has arrays of 3 x 2 x 4 x 6; they must be T x C x H",
        ),
        (
            {"test": "sound"},
            r"^data.train has arrays of \(3, 2, 8, 8\), but data.test has arrays of \(3, 12\); both",
        ),
        (
            {"test": "images", "image_size": 8},
            "^data.train has arrays of .*, but data.test has images; both must",
        ),
    ],
)
def test_what_cannot_work_is_said_in_one_line(config, options, message):
    with pytest.raises(UsageError, match=message) as caught:
        train(config(**options))
    assert "\n" not in str(caught.value)


def test_frames_of_a_phase_with_fewer_time_steps_are_means(config):
    halves = {"curriculum": [{"until": 0.5, "time_steps": 1}, {}]}
    assert train(config(training={**halves, "epochs": 4}))["test_accuracy"] > 0.6
    frames = torch.arange(2.0 * 6 * 5).reshape(6, 2, 5)
    assert torch.equal(merged(frames, 3)[1], (frames[2] + frames[3]) / 2)
    uneven = config(training={"curriculum": [{"until": 0.5, "time_steps": 2}, {}]})
    with pytest.raises(UsageError, match="time_steps=2 is not possible here: it must divide the 3 steps"):
        Trainer(uneven, Process(0, 1, torch.device("cpu")))


def test_time_comes_first_and_frames_take_a_memory_format():
    frames = torch.arange(2 * 3 * 4 * 5 * 6, dtype=torch.uint8).view(2, 3, 4, 5, 6)
    first = time_first(frames)
    assert first.is_contiguous() and first.dtype == torch.float32
    assert torch.equal(first[1, 0], frames[0, 1].float())
    last = laid_out(first, torch.channels_last)
    assert torch.equal(last, first)
    assert last.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert laid_out(torch.ones(3, 2, 7), torch.channels_last).shape == (3, 2, 7)


class Bars:
    """Bright bars that lie or stand, at places of their own."""

    labels = np.arange(36) % 2

    def __getitem__(self, index):
        pixels = np.full((32, 32), 40, np.uint8)
        place = 8 + 5 * (index % 4)
        pixels[place : place + 3] = 220
        return Image.fromarray(pixels.T if self.labels[index] else pixels), int(self.labels[index])


def test_the_torch_loader_trains_on_the_event_files_themselves(tmp_path, config):
    film_dataset("cifar10-dvs", Bars(), tmp_path / "events", train=16, test=2, loops=1)
    events = str(tmp_path / "events")
    options = {"loader": "torch", "dataset": "cifar10-dvs", "workers": 0}
    summary = train(config(events, events, time_steps=5, **options))  # frames, as the network has steps
    assert summary["test_examples"] == 4 and summary["train_accuracy"] > 0.6
