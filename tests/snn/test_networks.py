"""Every network: its size, its shapes, its gradients, and its neurons' state."""

import copy
import gc
import io
import math
import subprocess
import sys
import weakref

import pytest
import torch
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.neuron import LIFNode
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from sadp_dist.errors import UsageError
from sadp_dist.snn import NETWORKS, NeuronConfig, SpikingNetwork, build_network, register_network
from sadp_dist.snn.models.features import RecurrentNeurons
from sadp_dist.snn.models.meta_spikeformer import Attention, RepConv

SMALL = "small_cnn"
SPIKEFORMER = "meta_spikeformer_15m"
ON_FEATURES = ["spiking_mlp", "recurrent_snn", "recurrent_snn_plain"]
ON_IMAGES = [name for name in NETWORKS if name not in ON_FEATURES]
# The others are only deeper or wider.
ONE_OF_A_KIND = ["spiking_resnet18", "spiking_resnet19", "sew_resnet18", "vgg11", SPIKEFORMER, SMALL]
NORM_FREE = ["nf_resnet34", "vgg11_ws"]  # more of these and of T-RevSNN is in tests of their own
SMALLEST = {"spiking_resnet19": 8, SPIKEFORMER: 8, "nf_resnet34": 8, "vgg11_ws": 8}  # pixels; the others 32


@pytest.fixture(autouse=True)
def _fixed_weights():
    torch.manual_seed(0)


def parameters(name, **shape):
    with torch.device("meta"):
        return sum(p.numel() for p in build_network(name, **shape).parameters())


def build(name, num_classes=5, **options):
    """For small images, or for 40 features."""
    if name in ON_FEATURES:
        return build_network(name, num_classes, image_size=1, channels=40, **options)
    return build_network(name, num_classes, SMALLEST.get(name, 32), **options)


def inputs_for(name, batch=2):
    """What `build` makes networks for; features are over four time steps."""
    side = SMALLEST.get(name, 32)
    return torch.randn(4, batch, 40) if name in ON_FEATURES else torch.randn(batch, 3, side, side)


def test_residual_networks_have_the_published_number_of_parameters():
    # ImageNet, as torchvision documents them; CIFAR-10's 3x3 stem has 3 * 64 * (49 - 9) weights less.
    assert parameters("sew_resnet18", num_classes=1000, image_size=224) == 11_689_512
    assert parameters("spiking_resnet18", num_classes=1000, image_size=224) == 11_689_512
    assert parameters("sew_resnet34", num_classes=1000, image_size=224) == 21_797_672
    for name in ("spiking_resnet18", "sew_resnet18"):
        assert parameters(name, num_classes=10) == 11_173_962


@pytest.mark.parametrize("name", ["vgg11", "vgg16"])
def test_vgg_has_torchvision_s_convolutions_and_one_linear_layer(name):
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        features = sum(p.numel() for p in getattr(torchvision.models, f"{name}_bn")().features.parameters())
    bias_before_batch_norm = 64
    assert parameters(name, num_classes=10) == features - bias_before_batch_norm + 512 * 10 + 10


def test_meta_spikeformer_has_the_published_number_of_parameters():
    # In millions, as Yao et al. (ICLR 2024) list them for ImageNet.
    for name, published in {"15m": 15.1, "31m": 31.3, "55m": 55.4}.items():
        found = parameters(f"meta_spikeformer_{name}", num_classes=1000, image_size=224)
        assert round(found / 1e6, 1) == published


def test_resnet19_has_the_layers_of_its_paper():
    # Zheng et al. (AAAI 2021): 3, 3 and 2 blocks of 128, 256 and 512 channels, and two linear layers.
    convolutions = 3 * 128 * 9 + 6 * 128 * 128 * 9 + (128 + 5 * 256) * 256 * 9 + (256 + 3 * 512) * 512 * 9
    shortcuts = 128 * 256 + 256 * 512
    norms = 2 * (7 * 128 + 6 * 256 + 4 * 512) + 2 * (256 + 512)
    linear = (512 * 256 + 256) + 2 * 256 + (256 * 10 + 10)
    found = parameters("spiking_resnet19", num_classes=10)
    assert found == convolutions + shortcuts + norms + linear
    assert found == pytest.approx(12.63e6, rel=0.01)  # as later papers list it; they do not say what counts


@pytest.mark.parametrize("name", ON_FEATURES)
def test_networks_for_features_have_three_hidden_layers(name):
    inputs, hidden, classes = 700, 512, 20
    expected = inputs * hidden + 2 * hidden * hidden + hidden * classes + classes
    expected += 3 * hidden if name == "recurrent_snn_plain" else 3 * 2 * hidden  # biases, or norms
    expected += 0 if name == "spiking_mlp" else 3 * hidden * hidden
    assert parameters(name, num_classes=classes, image_size=1, channels=inputs) == expected


@pytest.mark.parametrize("name", ON_IMAGES)
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
        *((SMALL, size, 1) for size in (8, 15, 16, 64)),
        (SPIKEFORMER, 8, 1),
        *((name, 224, 3) for name in ("sew_resnet18", "vgg11")),
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
    images = inputs_for(name)
    several = build(name, time_steps=3).eval()
    one = build(name, time_steps=1).eval()
    one.load_state_dict(several.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(one(images), several(images)[:1])


@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_every_network_for_images_takes_those_of_every_data_set(name):
    """On fake tensors, which have shapes and no numbers."""
    with FakeTensorMode(), torch.no_grad():
        for image_size in (32, 64, 224):
            network = build_network(name, 7, image_size, time_steps=1).eval()
            assert network(torch.randn(3, 3, image_size, image_size)).shape == (1, 3, 7)
        for image_size in (48, 128):
            network = build_network(name, 7, image_size, channels=2).eval()
            assert network(torch.randn(2, 3, 2, image_size, image_size)).shape == (2, 3, 7)


@pytest.mark.parametrize("name", ON_FEATURES)
@pytest.mark.parametrize(("time_steps", "features"), [(101, 40), (25, 700)])
def test_features_become_one_row_of_logits_per_time_step(name, time_steps, features):
    network = build_network(name, 7, image_size=1, channels=features).eval()
    x = torch.randn(time_steps, 2, features)
    with torch.no_grad():
        logits = network(x)
        assert logits.shape == (time_steps, 2, 7)
        torch.testing.assert_close(network(x[:9]), logits[:9])  # the future does not act on the past
        assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize(("image_size", "side"), [(8, 8), (32, 8), (48, 12), (64, 8), (128, 8), (224, 14)])
def test_attention_has_positions_enough_in_small_images(image_size, side):
    with torch.device("meta"):
        network = build_network(SPIKEFORMER, 7, image_size)
    strides = [m.stride[0] for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert image_size // math.prod(strides) == side


def test_recurrent_neurons_take_the_spikes_of_the_step_before():
    neurons = RecurrentNeurons(16, NeuronConfig(decay=0.5).build())
    weights, x = neurons.recurrent.weight.detach(), torch.randn(6, 2, 16)
    u = o = torch.zeros(2, 16)
    with torch.no_grad():
        for spikes, current in zip(neurons(x), x, strict=True):
            u = 0.5 * u + current + o @ weights.T
            o = (u >= 1).float()
            u = u - o
            assert o.any() and not o.all()
            assert torch.equal(spikes, o)


@pytest.mark.parametrize("trained", [False, True])
def test_a_rep_conv_is_one_convolution_once_it_is_trained(trained):
    conv = RepConv(6).double().requires_grad_(False)
    functional.set_step_mode(conv, "m")
    spikes = torch.randint(0, 2, (2, 3, 6, 5, 7)).double()
    if trained:
        for norm in (conv[1], conv[4]):
            norm.weight.uniform_(0.5, 2)
            norm.bias.uniform_(-1, 1)
        conv(spikes)  # the norms' statistics follow what comes in
    conv.eval()
    merged = conv.merged()
    assert sum(p.numel() for p in merged.parameters()) == 6 * 6 * 9 + 6
    torch.testing.assert_close(merged(spikes), conv(spikes))


def test_small_images_are_not_shrunk_by_the_stem_of_a_residual_network():
    for size, side in ((32, 32), (48, 48), (64, 32), (224, 112)):
        network = build_network("sew_resnet18", 10, size)
        assert network.stem(torch.zeros(1, 2, 3, size, size)).shape == (1, 2, 64, side, side)


@pytest.mark.parametrize("name", [*ONE_OF_A_KIND, *ON_FEATURES, "sew_resnet34", "vgg16"])
def test_the_gradient_reaches_every_parameter(name):
    network = build(name)
    logits = network(inputs_for(name))
    nn.functional.cross_entropy(logits.mean(0), torch.arange(2)).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@pytest.mark.parametrize("name", [name for name in ONE_OF_A_KIND if name != SPIKEFORMER])  # it joins some
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
    network = build(name, time_steps=3).eval()
    images = inputs_for(name)
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


@pytest.mark.parametrize("name", [*ONE_OF_A_KIND, *NORM_FREE, *ON_FEATURES])
def test_batches_do_not_leak_into_each_other(name):
    network = build(name).eval()
    first, second = inputs_for(name) * 3, inputs_for(name, batch=1)
    with torch.no_grad():
        alone = network(second)
        network(first)
        assert torch.equal(network(second), alone)
        together = torch.cat([first, second], dim=1 if name in ON_FEATURES else 0)
        torch.testing.assert_close(network(together)[:, 2:], alone)
    assert all(
        torch.is_tensor(m.v) is False and m.v == 0.0 for m in network.modules() if isinstance(m, LIFNode)
    )


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
    images = inputs_for(name)
    logits = []
    for _ in range(2):
        torch.manual_seed(5)
        logits.append(build(name)(images))
    assert torch.equal(*logits)


@pytest.mark.parametrize("name", [*ONE_OF_A_KIND, *NORM_FREE, *ON_FEATURES])
def test_a_network_can_be_copied_saved_and_loaded_after_a_step(name):
    network = build(name)
    images = inputs_for(name)
    network(images).sum().backward()
    network.eval()

    state, whole = io.BytesIO(), io.BytesIO()
    torch.save(network.state_dict(), state)
    torch.save(network, whole)
    loaded = build(name).eval()
    loaded.load_state_dict(torch.load(io.BytesIO(state.getvalue()), weights_only=True))
    with torch.no_grad():
        expected = network(images)
        for other in (
            copy.deepcopy(network),
            loaded,
            torch.load(io.BytesIO(whole.getvalue()), weights_only=False),
        ):
            assert torch.equal(other(images), expected)


@pytest.mark.parametrize("name", [name for name in NETWORKS if not name.startswith("t_revsnn")])
def test_neurons_are_those_of_the_configuration(name):
    neuron = NeuronConfig(decay=0.75, threshold=0.5, surrogate="sigmoid", detach_reset=True)
    with torch.device("meta"):
        modules = dict(build(name, neuron=neuron).named_modules())
    nodes = {key: module for key, module in modules.items() if isinstance(module, LIFNode)}
    # Those behind the attention of a Meta-SpikeFormer have half the threshold.
    attention = {f"{key}.neuron" for key, module in modules.items() if isinstance(module, Attention)}
    assert len(attention) == (8 if name.startswith("meta_spikeformer") else 0)
    for key, node in nodes.items():
        threshold = 0.25 if key in attention else 0.5
        assert (node.tau, node.v_threshold, node.v_reset) == (4.0, threshold, None)
        assert node.detach_reset is True
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
        with pytest.raises(UsageError, match='network "perceptron" exists already'):
            register_network("perceptron")(lambda blueprint: build_perceptron(blueprint))
    finally:
        NETWORKS.pop("perceptron", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "spiking_resnet17"}, "'spiking_resnet17' is not known; .* did you mean .spiking_resnet1"),
        ({"num_classes": 0}, "num_classes=0 must be an integer of at least 1"),
        ({"image_size": -32}, "image_size=-32 must be"),
        ({"channels": 1.5}, "channels=1.5 must be"),
        ({"time_steps": "4"}, "time_steps='4' must be"),
        ({"name": "vgg11", "image_size": 16}, "image_size=16 is too small for vgg11, .* at least 32"),
        ({"name": "vgg16", "image_size": 16}, "image_size=16 is too small for vgg16, .* at least 32"),
        (
            {"image_size": 1},
            "image_size=1 means features over time, .* small_cnn needs images; use spiking_mlp, rec",
        ),
        (
            {"name": "recurrent_snn", "image_size": 32},
            "image_size=32 means images, but recurrent_snn needs features .* or image_size=1 and channels=F",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(arguments, message):
    with pytest.raises(UsageError, match=message) as refusal:
        build_network(**{"name": SMALL, "num_classes": 10, **arguments})
    assert "\n" not in str(refusal.value)


def test_an_input_of_no_known_kind_is_refused_in_one_line():
    with pytest.raises(UsageError, match=r"the input has shape \[3, 32\]; give images \[B, C, H, W\]"):
        build_network(SMALL, 5)(torch.zeros(3, 32))


@pytest.mark.slow
def test_without_torchvision_some_networks_say_what_is_missing_and_the_others_are_there():
    program = (
        "import sys; sys.modules['torchvision'] = None\n"
        "import torch; torch.set_default_device('meta')\n"
        "from sadp_dist.errors import UsageError\n"
        "from sadp_dist.snn import NETWORKS, build_network\n"
        "for name in NETWORKS:\n"
        "    size = 1 if name in ('spiking_mlp', 'recurrent_snn', 'recurrent_snn_plain') else 32\n"
        "    try: build_network(name, num_classes=10, image_size=size)\n"
        "    except UsageError as error: print(error)\n"
        "    else: print(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
    said = [
        f'network "{name}" needs torchvision; install it with: pip install torchvision'
        if name.startswith(("spiking_resnet", "sew_resnet", "vgg11", "vgg16")) and name != "vgg11_ws"
        else name
        for name in NETWORKS
        if name != "one_layer"  # of docs/networks.md, where that was run in this process
    ]
    assert done.stdout.splitlines() == said, done.stderr
