"""Weights that others have published work here, under the names that the networks here have."""

import argparse

import pytest
import torch

from sadp_dist.errors import UsageError
from sadp_dist.snn import NeuronConfig, build_network
from sadp_dist.snn.models.published import our_names
from sadp_dist.training.checkpoint import load_weights
from tests.snn.published_meta_spikeformer import checkpoint_shapes, published_logits, random_checkpoint

CLASSES = 5
WIDTHS = {
    "meta_spikeformer_15m": (64, 128, 256, 360),
    "meta_spikeformer_31m": (96, 192, 384, 480),
    "meta_spikeformer_55m": (128, 256, 512, 640),
}
SMALLEST = "meta_spikeformer_15m"
# τ = 2 with a current that decays, too: twice the threshold for a current that does not.
NEURON = NeuronConfig(decay=0.5, threshold=2.0, reset="zero")


def on_meta(shapes):
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize("teacher", [False, True])
def test_a_published_checkpoint_has_each_tensor_of_the_network_and_no_other(name, teacher):
    weights = our_names(on_meta(checkpoint_shapes(WIDTHS[name], 1000, teacher)))
    with torch.device("meta"):
        network = build_network(name, 1000, 224)
    expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
    assert {key: tensor.shape for key, tensor in weights.items()} == expected


@pytest.fixture(scope="module")
def checkpoint():
    torch.manual_seed(0)
    return random_checkpoint(checkpoint_shapes(WIDTHS[SMALLEST], CLASSES, teacher=True))


@pytest.fixture(scope="module")
def file(checkpoint, tmp_path_factory):
    """As their script writes it."""
    path = tmp_path_factory.mktemp("published") / "checkpoint-199.pth"
    content = {"model": checkpoint, "optimizer": {}, "epoch": 199, "scaler": {}}
    torch.save(content | {"args": argparse.Namespace(model="metaspikformer_8_256")}, path)
    return path


def test_a_published_checkpoint_answers_here_as_there(checkpoint, file):
    network = build_network(SMALLEST, CLASSES, 128, time_steps=2, neuron=NEURON)
    load_weights(network, file)
    images = torch.randn(1, 3, 128, 128, dtype=torch.float64)
    with torch.no_grad():
        logits = network.double().eval()(images)
        double = {name: each.double() for name, each in checkpoint.items()}
        expected = published_logits(double, images, time_steps=2)
    assert (expected[0] - expected[1]).abs().max() > 1e-3, "time steps that are alike would show little"
    torch.testing.assert_close(logits, expected)


def test_weights_of_spikingjelly_and_torchvision_residual_networks_are_taken(tmp_path):
    resnet18 = pytest.importorskip("torchvision").models.resnet18
    from spikingjelly.activation_based.model.sew_resnet import sew_resnet18

    network = build_network("sew_resnet18", CLASSES, 224)
    theirs = sew_resnet18(num_classes=CLASSES, cnf="ADD", spiking_neuron=torch.nn.Identity).state_dict()
    torch.save({f"module.{name}": tensor for name, tensor in theirs.items()}, tmp_path / "sew.pth")
    load_weights(network, tmp_path / "sew.pth")
    assert torch.equal(network.stem[0].weight, theirs["conv1.weight"])
    assert torch.equal(network.body.layer4[1].conv2.weight, theirs["layer4.1.conv2.weight"])
    spiking = build_network("spiking_resnet18", CLASSES, 224)
    assert our_names(resnet18(num_classes=CLASSES).state_dict()).keys() == spiking.state_dict().keys()


def test_weights_of_our_own_in_a_file_are_taken_for_other_time_steps(tmp_path):
    one, four = (build_network("small_cnn", CLASSES, 8, time_steps=steps).eval() for steps in (1, 4))
    torch.save(one.state_dict(), tmp_path / "weights.pth")
    load_weights(four, tmp_path / "weights.pth")
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(four(images)[:1], one(images))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"encoder.0.weight": torch.ones(1)}, r"belongs to another network \(Missing key"),
        ({"downsample1_1.encode_conv.weight": torch.ones(1), "mask": torch.ones(1)}, "it has 'mask'"),
        ({"epoch": 3}, "holds no weights"),
        ([1, 2], "holds no weights"),
        (None, "cannot be read"),
    ],
)
def test_a_file_of_no_network_here_is_refused_in_one_line(content, message, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"no torch file") if content is None else torch.save(content, path)
    with pytest.raises(UsageError, match=message) as refusal:
        load_weights(build_network("small_cnn", CLASSES, 8), path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_checkpoint_for_other_classes_is_refused_in_one_line(file):
    network = build_network(SMALLEST, CLASSES + 1, 128)
    with pytest.raises(
        UsageError, match="belongs to another network .*size mismatch for body.19.weight"
    ) as refusal:
        load_weights(network, file)
    assert "\n" not in str(refusal.value)
