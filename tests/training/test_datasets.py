"""A public dataset's own files, trained on without a .beton."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sadp_dist
from sadp_dist.data import DataConfig, open_dataset
from sadp_dist.errors import UsageError
from sadp_dist.loading import PruningSampler
from sadp_dist.training.datasets import open_data
from sadp_dist.training.processes import Process
from tests.data.image_trees import write_tree
from tests.data.published import cifar_files, tone, wav_bytes, write_tar
from tests.data.test_nmnist import FILES, write_folder


def test_the_torch_loader_takes_a_dataset_as_it_is_published(tmp_path):
    files, expected = cifar_files(100, per_batch=30)
    archive = str(write_tar(tmp_path / "cifar-100-python.tar.gz", files))
    config = DataConfig(train=archive, test=archive, dataset="cifar100", loader="torch", workers=0)
    data = open_data(config, 10, 0, Process(0, 1, torch.device("cpu")), time_steps=4)
    assert (data.size, data.classes, data.shape) == (30, 100, (3, 32, 32))
    assert data.labels.tolist() == expected["train"][1].tolist()

    store = sadp_dist.connect("memory:", "run", data.size, sadp_dist.PruningConfig(method="full", epochs=1))
    sampler = PruningSampler(store, batch_size=10)
    sampler.set_epoch(0)
    pixels = torch.from_numpy(np.moveaxis(expected["train"][0], 3, 1))
    for images, labels, index, _ in data.train_loader(sampler):
        assert torch.equal(images, pixels[index])
        assert labels.tolist() == data.labels[index].tolist()
    tested = torch.cat([images for images, *_ in data.test_loader()])
    assert torch.equal(tested, torch.from_numpy(np.moveaxis(expected["test"][0], 3, 1)))


def test_files_of_a_folder_that_are_not_read_are_warned_of(tmp_path):
    files = {"a/0.png": None, "b/0.png": None, "a/x.gif": b"GIF", "b/1.png": b"", "b/2.png": b""}
    folder = str(write_tree(tmp_path, files))
    config = DataConfig(train=folder, test=folder, loader="torch", workers=0)
    said = (
        r"data\.train=.*: left out: 2 x empty file, 1 x unsupported file type \(\.gif\); for the names: sadp"
    )
    with pytest.warns(UserWarning, match=said):
        open_data(config, 10, 0, Process(0, 1, torch.device("cpu")), time_steps=4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "write .beton files with sadp-dist beton$"),
        ({"dataset": "nmnist"}, "--dataset nmnist --split train --time-steps 4$"),
        (
            {"dataset": "shd"},
            "; then: sadp-dist beton SOURCE none.beton --dataset shd --split train$",
        ),
        (
            {"dataset": "nmnist", "loader": "torch"},
            "to get nmnist, download Train.zip and Test.zip from [^;]*$",
        ),
        (
            {"dataset": "wav", "pattern": "{class}_*.wav", "seconds": 2},
            "--split train --option 'pattern={class}_\\*.wav' --option seconds=2.0$",
        ),
    ],
)
def test_a_missing_file_says_how_to_get_it_as_the_configuration_needs_it(options, expected):
    config = DataConfig(train="none.beton", test="none.beton", **options)
    with pytest.raises(UsageError, match=rf"^data.train='none.beton' does not exist; .*{expected}"):
        open_data(config, 10, 0, Process(0, 1, torch.device("cpu")), time_steps=4)


@pytest.mark.parametrize("dataset", ["nmnist", "wav"])
def test_recordings_are_trained_on_as_they_are(dataset, tmp_path):
    if dataset == "nmnist":
        source = write_folder(tmp_path, FILES)
        options, time_steps, shape = {}, 3, (3, 2, 34, 34)
    else:
        names = [f"{split}/{word}/{n}.wav" for split in ("train", "test") for word in "ab" for n in range(10)]
        source = write_folder(tmp_path, dict.fromkeys(names, wav_bytes(tone(300, 0.1))))
        options, time_steps, shape = {"seconds": 0.2}, 21, (21, 40)
    config = DataConfig(
        train=str(source), test=str(source), dataset=dataset, loader="torch", workers=0, **options
    )
    data = open_data(config, 10, 0, Process(0, 1, torch.device("cpu")), time_steps)
    assert (data.size, data.shape) == (20, shape)
    (sequences, labels, _, _), *_ = data.test_loader()
    assert sequences.shape == (10, *shape) and data.normalise(sequences).shape == (shape[0], 10, *shape[1:])
    assert labels.tolist() == open_dataset(dataset, source, "test", verify=False).labels.tolist()[:10]
    if dataset == "wav":
        with pytest.raises(UsageError, match="^network.time_steps=5, but .* has 21 time steps"):
            open_data(config, 10, 0, Process(0, 1, torch.device("cpu")), time_steps=5)
