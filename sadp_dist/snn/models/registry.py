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
    """The arguments that a network is built from.

    For sequences of F features, such as audio, channels is F and image_size is 1.

    Attributes:
        num_classes: K.
        image_size: width and height of the images in pixels.
        channels: C of the images.
        neuron: returns a new layer of neurons.
        time_steps: T. Most networks work with any T.
        options: the ``network:`` section, with the network's own options if it has any.
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
"""Returns the stem and the body of a network; see :class:`SpikingNetwork`."""

Inputs = Literal["images", "features"]

INPUTS: dict[str, Inputs] = {}
"""The input of each network: images (also event frames), or sequences of features such as audio."""


def register_network(
    name: str, inputs: Inputs = "images", options: type[NetworkConfig] | None = None
) -> Callable[[Builder], Builder]:
    """Return a decorator that registers a builder under `name`.

    Args:
        name: the value of ``network.name``.
        inputs: "images" for [B, C, H, W] and frames [T, B, C, H, W]; "features" for [T, B, F].
        options: a subclass of `NetworkConfig` with additional keys, the network's own options. The builder
            gets them in `Blueprint.options`.
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
    """Return a spiking network with random weights.

    Args:
        name: one of ``NETWORKS``.
        num_classes: K.
        image_size: width and height of the images in pixels; 1 for features.
        channels: 3 for colour images, 1 for grey images, 2 for event frames, F for features.
        time_steps: T, how often an image is shown. Some neurons and networks need it for sequences, too.
        neuron: the neurons of all layers; None: LIF, λ = 0.1, ϑ = 1.
        options: the network's own options, if it has any.

    Returns:
        A module that maps images [B, C, H, W], or frames [T, B, C, H, W] or features [T, B, F] with their
        own T, to logits [T, B, K].

    Raises:
        UsageError: the name or an option is unknown; a number is not a positive integer; the network does not
            support this input, image size or kind of neurons; or it needs torchvision, which is not
            installed.
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
    """Refuse an input that the network does not support. An image size of 1 means features."""
    wanted = INPUTS[name]
    given = "features" if blueprint.image_size == 1 else "images"
    if wanted == given:
        return
    others = ", ".join(other for other in NETWORKS if _inputs_of(other) == given)
    if given == "features":
        raise UsageError(
            f"image_size=1 means features over time, such as audio, but {name} needs images; "
            f"use {others}, or larger images"
        )
    raise UsageError(
        f"image_size={blueprint.image_size} means images, but {name} needs features over time, such as "
        f"audio; use {others}, or image_size=1 and channels=F for F features"
    )


def _inputs_of(name: str) -> Inputs:
    NETWORKS[name]  # imports the network's file, which registers its inputs
    return INPUTS[name]


def check_positive(name: str, value: int) -> None:
    """Refuse a value that is not an integer of at least 1.

    Raises:
        UsageError: names the argument and its value.
    """
    try:
        positive = operator.index(value) >= 1
    except TypeError:
        positive = False
    if not positive:
        raise UsageError(f"{name}={value!r} must be an integer of at least 1")
