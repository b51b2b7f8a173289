"""One thing of each kind, as a user writes them in a file of their own."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field
from spikingjelly.activation_based import layer
from torch import Tensor, nn

from sadp_dist.data import DataConfig, register_dataset
from sadp_dist.scoring import Outputs, ScoringConfig, register_score
from sadp_dist.selection import PruningConfig, Rule, register
from sadp_dist.snn import NeuronConfig, register_learning_rule, register_network, register_neuron
from sadp_dist.snn.compression import Compression, CompressionConfig, register_compression
from sadp_dist.snn.learning import LearningConfig, LearningRule
from sadp_dist.snn.models import NetworkConfig


class MarginConfig(ScoringConfig):
    """Options of "margin": `power` of the margin."""

    power: Annotated[float, Field(gt=0)] = 1.0


@register_score("margin", MarginConfig)
def margin(outputs: Outputs) -> Tensor:
    """How far the two most probable classes are apart."""
    first, second = outputs.logits.mean(0).softmax(1).topk(2).values.unbind(1)
    return (1 - (first - second)) ** outputs.config.power


class ByMarginConfig(PruningConfig):
    """Options of "by-margin": `sharpness` of the preference for large scores."""

    sharpness: Annotated[float, Field(ge=0)] = 1.0


@register("by-margin", ByMarginConfig)
class ByMargin(Rule):
    """Prefers examples with large scores."""

    score = "margin"

    def probabilities(self, table, subset_size, epoch):
        wish = (table.scores + 0.1) ** self.config.sharpness
        return np.full(len(wish), subset_size / len(wish)) * 0.5 + 0.5 * subset_size * wish / wish.sum()


class WideConfig(NetworkConfig):
    """Options of "wide": the `width` of its hidden layer."""

    width: Annotated[int, Field(ge=1)] = 16


@register_network("wide", options=WideConfig)
def build_wide(blueprint):
    """One hidden layer."""
    pixels, width = blueprint.channels * blueprint.image_size**2, blueprint.options.width
    hidden = nn.Sequential(nn.Flatten(2), layer.Linear(pixels, width), blueprint.neuron())
    return nn.Identity(), nn.Sequential(*hidden, layer.Linear(width, blueprint.num_classes))


class Steep(nn.Module):
    """Spikes without memory."""

    def __init__(self, threshold, surrogate):
        super().__init__()
        self.threshold, self.surrogate_function = threshold, surrogate

    def forward(self, x):
        return self.surrogate_function(x - self.threshold)


@register_neuron("steep")
def build_steep(config: NeuronConfig, time_steps):
    return Steep(config.threshold, config.surrogate_function())


class DampedConfig(LearningConfig):
    """Options of "damped": the factor by which gradients shrink."""

    factor: Annotated[float, Field(gt=0, le=1)] = 0.5


@register_learning_rule("damped", DampedConfig)
class Damped(LearningRule):
    """BPTT with smaller gradients."""

    whole = True

    def learn(self, inputs, labels, coefficients, passes, key):
        with passes.autocast():
            logits = passes.forward(inputs)
        losses = passes.loss(logits, labels)
        passes.backward(self.config.factor * (coefficients * losses).sum())
        return logits.detach(), losses.detach()


class ClippedConfig(CompressionConfig):
    """Options of "clipped": the largest magnitude of a weight."""

    limit: Annotated[float, Field(gt=0)] = 1.0


@register_compression("clipped", ClippedConfig)
class Clipped(Compression):
    """Keeps weights small."""

    def attach(self, network, seed):
        self._weights = list(network.parameters())

    def after_step(self, optimizer):
        for weight in self._weights:
            weight.data.clamp_(-self.config.limit, self.config.limit)

    def figures(self):
        return {"largest_weight_of_all": max(float(w.detach().abs().max()) for w in self._weights)}


class NoiseConfig(DataConfig):
    """Options of "noise": how many examples there are."""

    examples: Annotated[int, Field(ge=10)] = 60


class Noise:
    """Grey squares, brighter for higher labels."""

    def __init__(self, examples):
        self.name, self.classes = "noise", [str(k) for k in range(10)]
        self.labels = np.arange(examples) % 10

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        random = np.random.default_rng(index)
        pixels = random.integers(0, 30, (8, 8, 3)) + 20 * self.labels[index]
        return Image.fromarray(pixels.astype(np.uint8)), int(self.labels[index])


@register_dataset(
    "noise",
    NoiseConfig,
    kind="images",
    train=60,
    test=60,
    classes=10,
    shape=(3, 8, 8),
    source="make it",
    files=(),
)
def open_noise(path, split, examples=60):
    return Noise(examples)
