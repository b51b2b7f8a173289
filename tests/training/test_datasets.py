"""A public dataset's own files, trained on without a .beton."""

from __future__ import annotations

import numpy as np
import torch

import sadp_dist
from sadp_dist.loading import PruningSampler
from sadp_dist.training.config import DataConfig
from sadp_dist.training.datasets import open_data
from sadp_dist.training.processes import Process
from tests.data.published import cifar_files, write_tar


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
