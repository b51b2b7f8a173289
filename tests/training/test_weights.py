"""A run can start from the weights of another one, as the second phase of the ImageNet recipe does."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
import torch

from sadp_dist.errors import UsageError
from sadp_dist.snn import build_network
from sadp_dist.snn.compression import CompressionConfig, build_compression
from sadp_dist.snn.layers import weight_parameter
from sadp_dist.training import load_config, parse_config, train
from sadp_dist.training.checkpoint import load_weights
from tests.training.conftest import newest_state
from tests.training.test_resume import flip_a_bit

CONFIGS = Path(__file__).parents[2] / "configs"


def test_a_run_starts_from_the_weights_of_another_with_more_time_steps(recipe, tmp_path):
    first = recipe(name="first", training={"epochs": 1}, network={"time_steps": 1})
    train(parse_config(first))
    # With a learning rate next to nothing it ends with what it started from.
    slow = {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    network = {"time_steps": 2, "weights": str(tmp_path / "first")}
    train(parse_config(recipe(name="second", training=slow, network=network)))
    before, after = (newest_state(tmp_path / name)["network"] for name in ("first", "second"))
    weights = [name for name in before if name.endswith("weight")]
    assert weights
    for name in weights:
        torch.testing.assert_close(after[name], before[name])


def test_weights_that_are_not_there_or_of_another_network_are_refused(recipe, tmp_path):
    with pytest.raises(UsageError, match=r"network.weights='nowhere' holds no checkpoint"):
        train(parse_config(recipe(network={"weights": "nowhere"})))
    train(parse_config(recipe(name="first", training={"epochs": 1}, network={"time_steps": 1})))
    network = {"name": "vgg11", "weights": str(tmp_path / "first")}
    with pytest.raises(UsageError, match="belongs to another network"):
        train(parse_config(recipe(name="second", data={"image_size": 32}, network=network)))


def test_weights_with_a_flipped_bit_are_refused(tmp_path):
    network = build_network("small_cnn", 4, image_size=8, channels=1)
    checkpoint = tmp_path / "first" / "checkpoints" / "e0001-b000000"
    checkpoint.mkdir(parents=True)
    torch.save({"network": network.state_dict()}, checkpoint / "state.pt")
    torch.save(network.state_dict(), tmp_path / "published.pt")
    load_weights(network, tmp_path / "first")
    load_weights(network, tmp_path / "published.pt")
    for file in (checkpoint / "state.pt", tmp_path / "published.pt"):
        flip_a_bit(file)
    with pytest.raises(UsageError, match=r"e0001-b000000 is damaged: .* does not have its checksum; remove"):
        load_weights(network, tmp_path / "first")
    with pytest.raises(UsageError, match=r"published.pt' is damaged: .* checksum; get the file again"):
        load_weights(network, tmp_path / "published.pt")


def test_weights_of_a_torch_without_checksums_still_load(tmp_path):
    network, same = (build_network("small_cnn", 4, image_size=8, channels=1) for _ in range(2))
    torch.save(network.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    load_weights(same, tmp_path / "old.pt")
    assert all(torch.equal(value, same.state_dict()[key]) for key, value in network.state_dict().items())


def test_a_run_starts_from_the_weights_behind_quantised_ones(tmp_path):
    quantised, network = (build_network("small_cnn", 4, image_size=8, channels=1) for _ in range(2))
    build_compression(CompressionConfig(method="qat", bits=2)).attach(quantised, seed=0)
    checkpoint = tmp_path / "first" / "checkpoints" / "e0001-b000000"
    checkpoint.mkdir(parents=True)
    torch.save({"network": quantised.state_dict()}, checkpoint / "state.pt")
    load_weights(network, tmp_path / "first")
    assert torch.equal(network.body[1].weight, weight_parameter(quantised.body[1]))
    assert torch.equal(network.body[2].weight, quantised.body[2].weight)


@pytest.mark.slow
def test_the_recipe_for_imagenet_trains_on_real_images_in_both_phases(tmp_path):
    folder = os.environ.get("SADP_DIST_DATA")
    if not folder:
        pytest.skip("SADP_DIST_DATA does not name a folder with imagenet-sample.zip")
    pytest.importorskip("ffcv")
    from sadp_dist.loading import write_beton

    with zipfile.ZipFile(Path(folder, "imagenet-sample.zip")) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")][:6]
        archive.extractall(tmp_path / "images", names)
    beton = tmp_path / "sample.beton"
    write_beton(tmp_path / "images", beton, max_side=500)
    small = [f"data.train={beton}", f"data.test={beton}", "data.workers=1", "training.batch_size=2"]
    small += ["training.epochs=2", "data.image_size=64", f"output={tmp_path}/{{name}}"]
    train(load_config(CONFIGS / "imagenet-sew-resnet34.yaml", small))
    small += [f"network.weights={tmp_path}/imagenet-sew-resnet34-pretrain"]
    summary = train(load_config(CONFIGS / "imagenet-sew-resnet34-finetune.yaml", small))
    assert summary["event"] == "end"
    assert 0 < summary["total_examples"] < 2 * 6
    assert summary["test_examples"] == 6
