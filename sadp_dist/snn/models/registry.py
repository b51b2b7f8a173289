"""Builds a network by its name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import nn

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.snn.models.config import NETWORKS, NetworkConfig
from sadp_dist.snn.models.network import SpikingNetwork
from sadp_dist.snn.neurons import NeuronConfig


@dataclass(frozen=True)
class Blueprint:
    """What a network is built for: K classes, square images of one size, one kind of neuron and T time steps.

    A network for sequences of F features, as of audio, has channels = F and image_size = 1. Most networks
    fit any T.

    Attributes:
        options: the ``network:`` section, with the network's own options if it has some.
    """

    num_classes: int
    image_size: int
    channels: int
    neuron: Callable[[], nn.Module]
    time_steps: int = 4
    options: Any = None

    def __post_init__(self) -> None:
        for name in ("num_classes", "image_size", "channels", "time_steps"):
            check_positive(name, getattr(self, name))


Builder = Callable[[Blueprint], tuple[nn.Module, nn.Module]]
"""A network's stem and body, see :class:`SpikingNetwork`."""

Inputs = Literal["images", "features"]

INPUTS: dict[str, Inputs] = {}
"""What each network takes: images (event frames too), or vectors of features over time, as of audio."""


def register_network(
    name: str, inputs: Inputs = "images", options: type[NetworkConfig] | None = None
) -> Callable[[Builder], Builder]:
    """Return a decorator that registers a builder under `name`.

    Args:
        name: what a configuration calls the network.
        inputs: "images" [B, C, H, W] and frames [T, B, C, H, W], or "features" [T, B, F].
        options: a subclass of `NetworkConfig` whose further keys are the network's own options; the builder
            finds them in `Blueprint.options`.
    """

    def register(builder: Builder) -> Builder:
        INPUTS[name] = inputs
        return NETWORKS.register(name, options)(builder)

    return register


def build_network(
    name: str,
    num_classes: int,
    image_size: int = 32,
    channels: int = 3,
    time_steps: int = 4,
    neuron: NeuronConfig | None = None,
    **options: Any,
) -> SpikingNetwork:
    """A spiking network with fresh weights.

    Args:
        name: one of ``NETWORKS``.
        num_classes: K.
        image_size: side of the (square) images, in pixels; 1 for features over time, as of audio.
        channels: of the images: 3 for colour, 1 for grey, 2 for event frames; F, where there are features.
        time_steps: T, how many times an image is shown; for some neurons and networks also of sequences.
        neuron: the neurons of all layers; None: LIF, λ = 0.1, ϑ = 1.
        options: the network's own options, for a network that has some.

    Returns:
        A module that maps images [B, C, H, W], or frames [T, B, C, H, W] or features [T, B, F] with their
        own T, to logits [T, B, K].

    Raises:
        UsageError: the name or an option is not known, a number is not a positive integer, the network takes
            the other kind of inputs or no neurons of this kind, or it needs larger images, or torchvision.
    """
    check_choice("network", name, NETWORKS)
    check_positive("time_steps", time_steps)
    section = NetworkConfig(name=name, time_steps=time_steps, neuron=neuron or NeuronConfig(), **options)
    layer = partial(section.neuron.build, time_steps)
    blueprint = Blueprint(num_classes, image_size, channels, layer, time_steps, section)
    try:
        builder = NETWORKS[name]
        _check_inputs(name, blueprint)
        stem, body = builder(blueprint)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("torchvision"):
            raise
        raise UsageError(
            f'network "{name}" needs torchvision; install it with: pip install torchvision'
        ) from error
    return SpikingNetwork(stem, body, time_steps)


def _check_inputs(name: str, blueprint: Blueprint) -> None:
    """Refuse to build a network for inputs that it does not take; what has one pixel has features."""
    wanted = INPUTS[name]
    given = "features" if blueprint.image_size == 1 else "images"
    if wanted == given:
        return
    others = ", ".join(other for other in NETWORKS if _inputs_of(other) == given)
    if given == "features":
        raise UsageError(
            f"image_size=1 is for features over time, as of audio, and {name} takes images: "
            f"use {others}, or larger images"
        )
    raise UsageError(
        f"image_size={blueprint.image_size}, and {name} takes features over time, as of audio: "
        f"use image_size=1 and channels=F for F features, or for images {others}"
    )


def _inputs_of(name: str) -> Inputs:
    NETWORKS[name]  # imports the file that says it
    return INPUTS[name]


def check_positive(name: str, value: int) -> None:
    """Refuse what is not an integer of at least 1.

    Raises:
        UsageError: names the argument and its value.
    """
    try:
        positive = operator.index(value) >= 1
    except TypeError:
        positive = False
    if not positive:
        raise UsageError(f"{name}={value!r} must be an integer of at least 1")
