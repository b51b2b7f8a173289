"""T-RevSNN: what goes back in time is what went forward, without memory for it."""

import copy

import pytest
import torch
from torch import nn

from sadp_dist.errors import UsageError
from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.snn import NeuronConfig, build_network
from sadp_dist.snn.models.t_revsnn import Spikes
from sadp_dist.snn.reversible import FLOOR
from tests.scoring.networks import assert_close, losses, scores_by_definition
from tests.snn.test_scores import settle

AUTHORS = NeuronConfig(decay=0.5, threshold=0.5, surrogate="rect")


@pytest.fixture(autouse=True)
def _fixed_weights():
    torch.manual_seed(0)


def build(time_steps=3, neuron=AUTHORS, size=8, **options):
    return build_network("t_revsnn_small", 5, size, time_steps=time_steps, neuron=neuron, **options)


def plain(network):
    """The same network, left to autograd."""
    network = copy.deepcopy(network)
    network.body.reversible = False
    return network


def gradients(network, x):
    network.zero_grad()
    logits = network(x)
    (logits * torch.arange(1, 6)).square().sum().backward()
    return logits.detach(), {name: parameter.grad for name, parameter in network.named_parameters()}


def test_it_has_the_parameters_of_the_authors_network():
    # Their public log of the network "small" says 32,331,312, with three classifiers of one layer, whose
    # outputs have a gain and a bias, and one of two layers; and α of the four levels at the first time step.
    one, two = 512 * 1000 + 2000, 1000 * 1000 + 2000
    unused = 96 + 192 + 384 + 512
    ours = 512 * 1000 + 1000
    with torch.device("meta"):
        network = build_network("t_revsnn_resnet18", 1000, 224)
        small = build_network("t_revsnn_small", 10, 32)
    found = sum(p.numel() for p in network.parameters())
    assert found == 32_331_312 - 3 * one - (one + two) - unused + ours == 29_785_128
    assert sum(p.numel() for p in small.parameters()) == pytest.approx(2e6, rel=0.05)


@pytest.mark.parametrize(
    ("shape", "decay", "training"),
    [
        ((3, 3, 8, 8), 0.5, True),
        ((3, 3, 8, 8), FLOOR, False),
        ((3, 3, 3, 10, 10), FLOOR, True),  # frames, and a level of an odd size
    ],
)
def test_logits_and_gradients_are_those_of_the_plain_computation(shape, decay, training):
    neuron = NeuronConfig(decay=decay, threshold=0.5, surrogate="sigmoid")
    network = build(neuron=neuron, size=shape[-1]).double()
    x = torch.randn(shape, dtype=torch.float64)
    settle(network, x).train(training)
    reference = plain(network)
    (logits, found), (expected_logits, expected) = gradients(network, x), gradients(reference, x)
    assert torch.equal(logits, expected_logits)
    for name, gradient in expected.items():
        assert gradient.any(), name
        torch.testing.assert_close(found[name], gradient, rtol=1e-7, atol=1e-10 * gradient.abs().max())
    for name, buffer in reference.named_buffers():  # statistics are taken once
        assert torch.equal(network.get_buffer(name), buffer), name


@pytest.mark.parametrize(("precision", "allowed"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_rounding_moves_no_spike_of_networks_in_lower_precision(precision, allowed):
    """A wrong spike would change gradients by more than the sums of rounded numbers do."""
    network = build(time_steps=5, neuron=NeuronConfig(decay=FLOOR, threshold=0.5))
    images = torch.randn(4, 3, 8, 8)
    found = []
    for run in (network, plain(network)):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = run(images)
        (logits.float() * torch.arange(5)).sum().backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in run.parameters()]))
    assert (found[0] - found[1]).norm() < allowed * found[1].norm()


def bytes_saved(network, x):
    """Of what autograd keeps between forward and backward, without parameters."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    saved = {}  # the tensors, so that no address is used twice

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(x)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


def test_memory_does_not_grow_with_the_number_of_time_steps():
    images = torch.randn(4, 3, 16, 16)
    saved = {steps: bytes_saved(build(steps, size=16), images) for steps in (2, 4, 8)}
    inputs_of_the_classifier = 4 * 128 * 4  # B numbers of float32 for each of 128 channels, at each step
    assert saved[4] - saved[2] == 2 * inputs_of_the_classifier
    assert saved[8] - saved[4] == 4 * inputs_of_the_classifier
    assert saved[8] < 1.05 * saved[2]
    by_autograd = {steps: bytes_saved(plain(build(steps, size=16)), images) for steps in (2, 8)}
    assert by_autograd[8] > 3.5 * by_autograd[2] > 3.5 * 20 * saved[2]


def test_what_autograd_has_to_keep_is_told_if_weights_change_before_it_is_used():
    network = build()
    logits = network(torch.randn(2, 3, 8, 8))
    with torch.no_grad():
        network.body.steps[1].levels[0].blocks[0].factor.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        logits.sum().backward()


@pytest.mark.parametrize("layers", ["last", "all"])
def test_scores_are_the_bound_by_its_definition(layers):
    images, labels, c = torch.randn(3, 3, 8, 8), torch.arange(3), torch.tensor([0.5, 2.0, 1.0])
    network = settle(build(), images)
    scorer = SpikeAwareScorer(network, layers, time_steps=3)
    with scorer:
        (c * losses(network(images), labels)).sum().backward()
    scores = scorer.scores(c)
    expected = scores_by_definition(plain(network), images, labels, scorer.layers)
    assert_close(scores, expected, relative=1e-3)


def test_the_gradient_reaches_every_parameter_at_first():
    network = build(neuron=NeuronConfig(decay=0.5, threshold=0.5))
    _, found = gradients(network, torch.randn(8, 3, 8, 8))
    for name, gradient in found.items():
        assert gradient.isfinite().all() and gradient.any(), name


def test_images_of_every_size_become_one_row_of_logits_per_time_step():
    for name, size in (("t_revsnn_small", 15), ("t_revsnn_small", 48), ("t_revsnn_resnet18", 64)):
        network = build_network(name, 7, size, time_steps=2).eval()
        images = torch.randn(1, 3, size, size)
        with torch.no_grad():
            logits = network(images)
            assert logits.shape == (2, 1, 7)
            frames = images.expand(2, -1, -1, -1, -1)
            torch.testing.assert_close(network(frames), logits)


def test_potentials_decay_by_at_least_the_floor_and_weights_below_it_still_learn():
    network = build(time_steps=2)
    step = network.body.steps[1]
    assert {alpha for decays in step.decays for alpha in decays.flatten().tolist()} == {0.5}
    with torch.no_grad():
        step.decays[0].fill_(-1.0)
    torch.testing.assert_close(step.alpha(0), torch.full((32, 1, 1), FLOOR, dtype=torch.float64))
    _, found = gradients(network, torch.randn(2, 3, 8, 8))
    assert found["body.steps.1.decays.0"].any()


def test_neurons_are_those_of_the_configuration():
    neuron = NeuronConfig(decay=0.75, threshold=0.25, surrogate="sigmoid")
    with torch.device("meta"):
        network = build(neuron=neuron)
    spikes = [module for module in network.modules() if isinstance(module, Spikes)]
    assert {(type(s.surrogate_function).__name__, s.v_threshold) for s in spikes} == {("Sigmoid", 0.25)}
    with torch.no_grad():
        assert spikes[0](torch.tensor([0.2, 0.25, 0.3])).tolist() == [0.0, 1.0, 1.0]


def test_the_ends_of_second_blocks_are_shared_by_all_time_steps_and_nothing_else_is():
    network = build(time_steps=2)
    first, second = ({id(p) for p in step.parameters()} for step in network.body.steps)
    shared = {
        id(p)
        for step in network.body.steps
        for level in step.levels
        for p in level.blocks[1].end.parameters()
    }
    assert first & second == shared
    assert len(shared) == 4 * 5  # weight, gain and bias of pw2, weight and bias of dw2


@pytest.mark.parametrize(
    ("neuron", "message"),
    [
        (
            NeuronConfig(kind="psn"),
            "a potential that decays, and PSN has none; use network.neuron.kind=lif",
        ),
        (NeuronConfig(decay=0.5, reset="zero"), "has neurons without reset"),
        (NeuronConfig(decay=0.5, detach_reset=True), "has neurons without reset"),
        (NeuronConfig(decay=0.05), "decay=0.05 is too small for t_revsnn_small"),
    ],
)
def test_neurons_that_cannot_be_reversed_are_refused_in_one_line(neuron, message):
    with torch.device("meta"), pytest.raises(UsageError, match=message) as refusal:
        build(neuron=neuron)
    assert "\n" not in str(refusal.value)


def test_another_number_of_time_steps_is_refused():
    with pytest.raises(UsageError, match=r"has 5 time steps, .* weights for 3; set network.time_steps=5"):
        build()(torch.randn(5, 2, 3, 8, 8))


def test_a_network_can_be_copied_saved_and_loaded_after_a_step(tmp_path):
    network, images = build(), torch.randn(2, 3, 8, 8)
    gradients(network, images)
    network.eval()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    loaded = build().eval()
    loaded.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        expected = network(images)
        assert torch.equal(loaded(images), expected)
        assert torch.equal(copy.deepcopy(network)(images), expected)
    assert not [key for key in dict(network.named_parameters()) if network.get_parameter(key).grad is None]
    assert isinstance(network.body.classifier, nn.Linear)
