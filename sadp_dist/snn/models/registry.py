"""The names of the networks. A new network is a new file with one registered function."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from sadp_dist.errors import UsageError
from sadp_dist.snn.models.network import SpikingNetwork
from sadp_dist.snn.neurons import NeuronConfig, check_name


@dataclass(frozen=True)
class Blueprint:
    """What a network is built for: K classes, square images of one size, and one kind of neuron."""

    num_classes: int
    image_size: int
    channels: int
    neuron: Callable[[], nn.Module]

    def __post_init__(self) -> None:
        for name in ("num_classes", "image_size", "channels"):
            check_positive(name, getattr(self, name))


Builder = Callable[[Blueprint], tuple[nn.Module, nn.Module]]
"""A network's stem and body, see :class:`SpikingNetwork`."""

NETWORKS: dict[str, Builder] = {}


def register_network(name: str) -> Callable[[Builder], Builder]:
    """Decorator: make a builder known to :func:`build_network` under `name`."""

    def register(builder: Builder) -> Builder:
        if name in NETWORKS:
            raise UsageError(
                f'name="{name}" is taken by another network: choose one not in {", ".join(NETWORKS)}'
            )
        NETWORKS[name] = builder
        return builder

    return register


def build_network(
    name: str,
    num_classes: int,
    image_size: int = 32,
    channels: int = 3,
    time_steps: int = 4,
    neuron: NeuronConfig | None = None,
) -> SpikingNetwork:
    """A spiking network with fresh weights.

    Args:
        name: one of ``NETWORKS``.
        num_classes: K.
        image_size: side of the (square) images, in pixels.
        channels: of the images: 3 for colour, 1 for grey, 2 for event frames.
        time_steps: T, how many times an image is shown.
        neuron: decay, threshold and surrogate of all neurons; None: λ = 0.1, ϑ = 1.

    Returns:
        A module that maps images [B, C, H, W], or frames [T, B, C, H, W] with their own T, to logits
        [T, B, K].

    Raises:
        UsageError: the name is not known, a number is not a positive integer, or the network needs larger
            images, or torchvision.
    """
    check_name("network", name, NETWORKS)
    check_positive("time_steps", time_steps)
    blueprint = Blueprint(num_classes, image_size, channels, (neuron or NeuronConfig()).build)
    try:
        stem, body = NETWORKS[name](blueprint)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("torchvision"):
            raise
        raise UsageError(
            f'network "{name}" needs torchvision; install it with: pip install torchvision'
        ) from error
    return SpikingNetwork(stem, body, time_steps)


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
