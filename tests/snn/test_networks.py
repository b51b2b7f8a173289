"""Every network: its size, its shapes, its gradients, and its neurons' state."""

import copy
import gc
import io
import subprocess
import sys
import weakref

import pytest
import torch
from spikingjelly.activation_based.neuron import LIFNode
from torch import nn
from torch.utils.checkpoint import checkpoint

from sadp_dist.errors import UsageError
from sadp_dist.snn import NETWORKS, NeuronConfig, SpikingNetwork, build_network, register_network

SMALL = "small_cnn"
ONE_OF_A_KIND = ["spiking_resnet18", "sew_resnet18", "vgg11", SMALL]  # sew_resnet34 is only deeper


@pytest.fixture(autouse=True)
def _fixed_weights():
    torch.manual_seed(0)


def parameters(name, **shape):
    with torch.device("meta"):
        return sum(p.numel() for p in build_network(name, **shape).parameters())


def test_residual_networks_have_the_published_number_of_parameters():
    # ImageNet, as torchvision documents them; CIFAR-10's 3x3 stem has 3 * 64 * (49 - 9) weights less.
    assert parameters("sew_resnet18", num_classes=1000, image_size=224) == 11_689_512
    assert parameters("spiking_resnet18", num_classes=1000, image_size=224) == 11_689_512
    assert parameters("sew_resnet34", num_classes=1000, image_size=224) == 21_797_672
    for name in ("spiking_resnet18", "sew_resnet18"):
        assert parameters(name, num_classes=10) == 11_173_962


def test_vgg11_has_torchvision_s_convolutions_and_one_linear_layer():
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        features = sum(p.numel() for p in torchvision.models.vgg11_bn().features.parameters())
    bias_before_batch_norm = 64
    assert parameters("vgg11", num_classes=10) == features - bias_before_batch_norm + 512 * 10 + 10


@pytest.mark.parametrize("name", NETWORKS)
def test_the_number_of_channels_changes_the_first_convolution_alone(name):
    with torch.device("meta"):
        grey, colour = (
            {
                key: value.shape
                for key, value in build_network(name, 10, channels=channels).state_dict().items()
            }
            for channels in (1, 3)
        )
    assert [key for key in colour if colour[key] != grey[key]] == ["stem.0.weight"]
    assert grey["stem.0.weight"][1] == 1


@pytest.mark.parametrize(
    ("name", "image_size", "channels"),
    [
        *((name, 32, 3) for name in ("spiking_resnet18", "sew_resnet18", "sew_resnet34", "vgg11", SMALL)),
        *((name, 48, 2) for name in ("sew_resnet18", "vgg11", SMALL)),
        *((name, 64, 1) for name in ("spiking_resnet18", "vgg11", SMALL)),
        *((SMALL, size, 1) for size in (8, 15, 16)),
        ("sew_resnet18", 224, 3),
        ("vgg11", 224, 3),
    ],
)
def test_images_become_one_row_of_logits_per_time_step(name, image_size, channels):
    network = build_network(name, 7, image_size, channels, time_steps=2).eval()
    with torch.no_grad():
        logits = network(torch.randn(1, channels, image_size, image_size))
    assert logits.shape == (2, 1, 7)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_one_time_step_is_the_first_of_several(name):
    images = torch.randn(2, 3, 32, 32)
    several = build_network(name, 7, time_steps=3).eval()
    one = build_network(name, 7, time_steps=1).eval()
    one.load_state_dict(several.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(one(images), several(images)[:1])


def test_small_images_are_not_shrunk_by_the_stem_of_a_residual_network():
    for size, side in ((32, 32), (48, 48), (64, 32), (224, 112)):
        network = build_network("sew_resnet18", 10, size)
        assert network.stem(torch.zeros(1, 2, 3, size, size)).shape == (1, 2, 64, side, side)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_reaches_every_parameter(name):
    network = build_network(name, 5)
    logits = network(torch.randn(2, 3, 32, 32))
    nn.functional.cross_entropy(logits.mean(0), torch.arange(2)).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_every_convolution_after_the_stem_sees_whole_spikes(name):
    network = build_network(name, 5)
    convolutions = [module for module in network.body.modules() if isinstance(module, nn.Conv2d)]
    seen = []
    for convolution in convolutions:
        convolution.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    network(torch.randn(2, 3, 32, 32))
    assert len(seen) == len(convolutions) > 0
    for spikes in seen:
        assert torch.equal(spikes, spikes.round())  # SEW adds spikes up, the others send one or none
        assert spikes.min() == 0
        assert spikes.any()


def test_the_classifier_of_the_small_network_sees_single_spikes():
    network = build_network(SMALL, 5)
    seen = []
    network.body[-1].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network(torch.randn(8, 3, 32, 32))
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_an_image_is_shown_at_every_time_step(name):
    network = build_network(name, 5, time_steps=3).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        frames = images.expand(3, -1, -1, -1, -1)
        torch.testing.assert_close(network(images), network(frames))


def test_frames_bring_their_own_number_of_time_steps():
    network = build_network(SMALL, 5, channels=2, time_steps=4).eval()
    frames = torch.randn(6, 2, 2, 32, 32)
    with torch.no_grad():
        logits = network(frames)
        assert logits.shape == (6, 2, 5)
        torch.testing.assert_close(network(frames[:3]), logits[:3])  # the future does not act on the past


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_batches_do_not_leak_into_each_other(name):
    network = build_network(name, 5).eval()
    first, second = torch.randn(4, 3, 32, 32) * 3, torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        alone = network(second)
        network(first)
        assert torch.equal(network(second), alone)
        torch.testing.assert_close(network(torch.cat([first, second]))[:, 4:], alone)


def test_a_forward_pass_broken_off_leaves_no_state():
    network = build_network(SMALL, 5).eval()
    images = torch.randn(2, 3, 32, 32)
    expected = network(images)

    def interrupt(*_):
        raise KeyboardInterrupt

    hook = network.body[-1].register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        network(images)
    hook.remove()
    assert all(m.v == 0.0 for m in network.modules() if isinstance(m, LIFNode))
    assert torch.equal(network(images), expected)


def test_activation_checkpointing_changes_neither_gradients_nor_the_next_batch():
    network = build_network(SMALL, 5).eval()
    images = torch.randn(2, 3, 32, 32)

    def gradients(run):
        network.zero_grad()
        run().square().sum().backward()
        return [p.grad.clone() for p in network.parameters()]

    expected = gradients(lambda: network(images))
    whole = gradients(lambda: checkpoint(network, images, use_reentrant=False))
    forward = network.body.forward
    network.body.forward = lambda x: checkpoint(forward, x, use_reentrant=False)
    in_part = gradients(lambda: network(images))
    after = gradients(lambda: network(images))
    for other in (whole, in_part, after):
        for one, another in zip(expected, other, strict=True):
            assert torch.equal(one, another)


def test_nothing_of_a_step_outlives_its_logits():
    network = build_network(SMALL, 5)
    activations = []
    network.body[0].register_forward_hook(lambda m, i, output: activations.append(weakref.ref(output)))
    logits = network(torch.randn(2, 3, 32, 32))
    assert activations[0]() is not None
    del logits
    gc.collect()
    assert activations[0]() is None


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_the_same_seed_gives_the_same_network(name):
    images = torch.randn(2, 3, 32, 32)
    logits = []
    for _ in range(2):
        torch.manual_seed(5)
        logits.append(build_network(name, 5)(images))
    assert torch.equal(*logits)


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_a_network_can_be_copied_saved_and_loaded_after_a_step(name):
    network = build_network(name, 5)
    images = torch.randn(2, 3, 32, 32)
    network(images).sum().backward()
    network.eval()

    state, whole = io.BytesIO(), io.BytesIO()
    torch.save(network.state_dict(), state)
    torch.save(network, whole)
    loaded = build_network(name, 5).eval()
    loaded.load_state_dict(torch.load(io.BytesIO(state.getvalue()), weights_only=True))
    with torch.no_grad():
        expected = network(images)
        for other in (
            copy.deepcopy(network),
            loaded,
            torch.load(io.BytesIO(whole.getvalue()), weights_only=False),
        ):
            assert torch.equal(other(images), expected)


def test_neurons_are_those_of_the_configuration():
    neuron = NeuronConfig(decay=0.75, threshold=0.5, surrogate="sigmoid", detach_reset=True)
    for name in NETWORKS:
        nodes = [m for m in build_network(name, 5, neuron=neuron).modules() if isinstance(m, LIFNode)]
        assert nodes
        for node in nodes:
            assert (node.tau, node.v_threshold, node.v_reset, node.detach_reset) == (4.0, 0.5, None, True)
            assert node.decay_input is False
            assert node.step_mode == "m"


def test_a_network_of_one_s_own_is_built_by_its_name():
    try:

        @register_network("perceptron")
        def build_perceptron(blueprint):
            pixels = blueprint.channels * blueprint.image_size**2
            return nn.Identity(), nn.Sequential(
                blueprint.neuron(), nn.Flatten(2), nn.Linear(pixels, blueprint.num_classes)
            )

        network = build_network("perceptron", 5, image_size=4, channels=1)
        assert isinstance(network, SpikingNetwork)
        assert network(torch.ones(2, 1, 4, 4)).shape == (4, 2, 5)
        with pytest.raises(UsageError, match='"perceptron" is taken'):
            register_network("perceptron")(build_perceptron)
    finally:
        NETWORKS.pop("perceptron", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "spiking_resnet81"}, '"spiking_resnet81" is not known: .* did you mean "spiking_resnet18"'),
        ({"num_classes": 0}, "num_classes=0 must be an integer of at least 1"),
        ({"image_size": -32}, "image_size=-32 must be"),
        ({"channels": 1.5}, "channels=1.5 must be"),
        ({"time_steps": "4"}, "time_steps='4' must be"),
        ({"name": "vgg11", "image_size": 16}, "image_size=16 is too small for vgg11, .* at least 32"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(arguments, message):
    with pytest.raises(UsageError, match=message) as refusal:
        build_network(**{"name": SMALL, "num_classes": 10, **arguments})
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_without_torchvision_there_is_the_small_network_and_the_others_say_what_is_missing():
    program = (
        "import sys; sys.modules['torchvision'] = None\n"
        "from sadp_dist.errors import UsageError\n"
        "from sadp_dist.snn import NETWORKS, build_network\n"
        "for name in NETWORKS:\n"
        "    try: build_network(name, num_classes=10)\n"
        "    except UsageError as error: print(error)\n"
        "    else: print(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    said = {
        name: f'network "{name}" needs torchvision; install it with: pip install torchvision'
        for name in NETWORKS
    }
    assert sorted(done.stdout.splitlines()) == sorted((said | {SMALL: SMALL}).values()), done.stderr
