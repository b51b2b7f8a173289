"""T-RevSNN, a temporal reversible SNN (Hu et al., ICML 2024); see :mod:`sadp_dist.snn.reversible`.

The network has four levels. Each level has half the image size of the level below; the last level has the
same size. Every time step has its own weights. Only the potentials of the levels carry information from one
time step to the next: they decay and are never reset. All other neurons have no memory. At time step t, a
level adds two inputs, each through a convolution and batch norm: the spikes of the level below at t, and the
spikes of the level above at t - 1. Two blocks follow, which are ConvNeXt's with standardised weights:

    x + g dw2(pw2(spikes(pw1(dw1(spikes(x))))))

dw are depthwise convolutions. pw are 1x1 convolutions; pw1 has four times as many output channels. g is a
learned factor of each channel. In the second block, pw2 and dw2 are shared by all time steps, and there is no
g.

This, the channels, the kernel sizes, T = 4 with the same image at each step, and the initial α = 0.5 of each
channel are those of the authors' public code. ``t_revsnn_resnet18`` is its network "small", with 512 channels
at the last level. Without classifiers, both have the same number of parameters, except four α of the first
time step, which have no effect.

Differences from the authors' code:

- One linear classifier gets the spikes of the last level at all time steps. Theirs has one classifier for
  each of four time steps and discards three of them after training.
- Depthwise weights start with variance 1 / N. With their standard deviation of 0.02, no neuron in a block
  would spike at first.
- α is at least 0.1. With their minimum of 0.001, a rounding error grows 10^9 times in four steps.
- Potentials are float64 and are recomputed in the backward pass. Their code keeps those of every time step.
- The stem does not reduce images of up to 48 pixels, and all event frames have the same stem. The stem of
  ``t_revsnn_small``, which also has fewer channels, leaves at least 8 pixels.
- Threshold, surrogate and α of the neurons are those of the configuration. Theirs are ϑ = 0.5, "rect" and
  0.5.
"""

from __future__ import annotations

from spikingjelly.activation_based import layer
from spikingjelly.activation_based.neuron import LIFNode
from spikingjelly.activation_based.surrogate import SurrogateFunctionBase
from torch import Tensor, nn, ones
from torch.nn.functional import interpolate

from sadp_dist.errors import UsageError
from sadp_dist.snn.models.registry import Blueprint, register_network
from sadp_dist.snn.models.resnet import SMALL_IMAGE
from sadp_dist.snn.models.standardised import StandardisedConv2d
from sadp_dist.snn.reversible import FLOOR, TimeStep, plain, reversible

EXPANSION = 4
POSITIONS = 8  # minimum image size at the first level of the small network

Widths = tuple[int, int, int, int]


@register_network("t_revsnn_resnet18")
def build_t_revsnn_resnet18(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """T-RevSNN ResNet18 (512): reversible, so that its memory hardly grows with the number of time steps."""
    widths = (96, 192, 384, 512)
    if blueprint.image_size <= SMALL_IMAGE:
        stem = _stem(blueprint.channels, widths[0], (3, 1), (3, 1))
    else:
        stem = _stem(blueprint.channels, widths[0], (7, 2), (3, 2))
    return stem, _body("t_revsnn_resnet18", widths, 5, blueprint)


@register_network("t_revsnn_small")
def build_t_revsnn_small(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """A T-RevSNN with few channels for CPUs; its stem reduces images twice if at least 8 pixels are left."""
    widths = (32, 64, 96, 128)
    first, second = (2 if blueprint.image_size >= POSITIONS * factor else 1 for factor in (4, 2))
    stem = _stem(blueprint.channels, widths[0], (3, first), (3, second))
    return stem, _body("t_revsnn_small", widths, 3, blueprint)


class Spikes(nn.Module):
    """Neurons without memory: 1 where the current is at least ϑ, otherwise 0."""

    def __init__(self, surrogate_function: SurrogateFunctionBase, v_threshold: float) -> None:
        super().__init__()
        self.surrogate_function = surrogate_function
        self.v_threshold = v_threshold

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.surrogate_function(x - self.v_threshold)
        return spikes


class ConvBlock(nn.Module):
    """x + g dw2(pw2(spikes(pw1(dw1(spikes(x)))))), from [1, B, D, H, W] to [1, B, D, H, W].

    Args:
        width: D.
        kernel_size: of the depthwise convolutions.
        spikes: the neurons.
        end: shared pw2 and dw2; the block then has no g. None: the block has its own.
    """

    def __init__(self, width: int, kernel_size: int, spikes: Spikes, end: nn.Module | None = None) -> None:
        super().__init__()
        self.begin = nn.Sequential(
            spikes,
            depthwise(width, kernel_size),
            StandardisedConv2d(width, EXPANSION * width, 1, gamma=1.0),
            spikes,
        )
        self.factor = nn.Parameter(ones(width, 1, 1)) if end is None else None
        self.end = block_end(width, kernel_size) if end is None else end

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.end(self.begin(x))
        return x + (branch if self.factor is None else self.factor * branch)


def block_end(width: int, kernel_size: int) -> nn.Sequential:
    """Return pw2 and dw2."""
    return nn.Sequential(
        StandardisedConv2d(EXPANSION * width, width, 1, gamma=1.0), depthwise(width, kernel_size)
    )


def depthwise(width: int, kernel_size: int) -> layer.Conv2d:
    """Return a depthwise convolution whose weights have variance 1 / N."""
    conv = layer.Conv2d(width, width, kernel_size, padding=kernel_size // 2, groups=width)
    nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="linear")
    nn.init.zeros_(conv.bias)
    return conv


class Level(nn.Module):
    """f_l of one time step (:mod:`sadp_dist.snn.reversible`), to currents [1, B, D, H, W].

    Args:
        below: channels of the level below; None for the first level, whose input is the stem's output.
        width: D, the channels of this level.
        above: channels of the level above; None for the last level and at the first time step.
        shrink: whether this level has half the image size of the level below.
        kernel_size: of the blocks' depthwise convolutions.
        end: pw2 and dw2 of the second block, shared by all time steps.
        spikes: the neurons.
    """

    def __init__(
        self,
        below: int | None,
        width: int,
        above: int | None,
        shrink: bool,
        kernel_size: int,
        end: nn.Module,
        spikes: Spikes,
    ) -> None:
        super().__init__()
        self.below = nn.Identity() if below is None else _fused(spikes, below, width, shrink)
        self.above = None if above is None else _fused(spikes, above, width, shrink=False)
        self.blocks = nn.Sequential(
            ConvBlock(width, kernel_size, spikes), ConvBlock(width, kernel_size, spikes, end)
        )

    def forward(self, below: Tensor, above: Tensor | None) -> Tensor:
        x: Tensor = self.below(below)
        if self.above is not None and above is not None:
            smaller: Tensor = self.above(above)
            x = x + interpolate(smaller.flatten(0, 1), x.shape[-2:]).unflatten(0, smaller.shape[:2])
        result: Tensor = self.blocks(x)
        return result


def _fused(spikes: Spikes, inputs: int, outputs: int, shrink: bool) -> nn.Sequential:
    """Return neurons, a convolution and batch norm for the input from another level."""
    kernel_size, stride = (3, 2) if shrink else (1, 1)
    conv = layer.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False)
    return nn.Sequential(spikes, conv, layer.BatchNorm2d(outputs))


class TRevSNN(nn.Module):
    """The body of a T-RevSNN, from currents [T, B, C, H, W] to logits [T, B, K].

    An input [1, B, C, H, W] is the same at every time step.

    Attributes:
        stepwise: False: T calls with one time step are not equivalent to one call with T.
        repeats: True: it accepts [1, B, ...] for an input that is the same at every time step.
        reversible: False: plain autograd, whose memory grows with T.

    Raises:
        UsageError: the input has another number of time steps than the network.
    """

    stepwise = False
    repeats = True

    def __init__(self, steps: list[TimeStep], spikes: Spikes, width: int, num_classes: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.readout = nn.Sequential(spikes, layer.AdaptiveAvgPool2d(1), layer.Flatten(start_dim=1))
        self.classifier = layer.Linear(width, num_classes)
        self.reversible = True

    def forward(self, x: Tensor) -> Tensor:
        steps = [step for step in self.steps if isinstance(step, TimeStep)]
        if len(x) not in (1, len(steps)):
            raise UsageError(
                f"the input has {len(x)} time steps, but this network has weights for {len(steps)}; set "
                f"network.time_steps={len(x)}"
            )
        if self.reversible:
            rates = reversible(steps, self.readout, x)
        else:
            rates, _ = plain(steps, self.readout, x)
        logits: Tensor = self.classifier(rates)
        return logits


def _stem(channels: int, width: int, first: tuple[int, int], second: tuple[int, int]) -> nn.Sequential:
    """Return two convolutions in a row, each given by its kernel size and stride."""
    return nn.Sequential(
        StandardisedConv2d(channels, width, *first, gamma=1.0),
        StandardisedConv2d(width, width, *second, gamma=1.0),
    )


def _body(name: str, widths: Widths, kernel_size: int, blueprint: Blueprint) -> TRevSNN:
    spikes, decay = _spikes_and_decay(name, blueprint)
    ends = [block_end(width, kernel_size) for width in widths]
    last = len(widths) - 1
    steps = []
    for t in range(blueprint.time_steps):
        levels = [
            Level(
                below=widths[level - 1] if level > 0 else None,
                width=width,
                above=widths[level + 1] if level < last and t > 0 else None,
                shrink=level < last,
                kernel_size=kernel_size,
                end=ends[level],
                spikes=spikes,
            )
            for level, width in enumerate(widths)
        ]
        steps.append(TimeStep(levels, decay if t > 0 else None, widths))
    return TRevSNN(steps, spikes, widths[-1], blueprint.num_classes)


def _spikes_and_decay(name: str, blueprint: Blueprint) -> tuple[Spikes, float]:
    """Return memoryless neurons with threshold and surrogate of the blueprint's neurons, and the decay."""
    neuron = blueprint.neuron()
    if not isinstance(neuron, LIFNode):
        raise UsageError(
            f"{name} needs neurons with a potential that decays, and {type(neuron).__name__} has none; use "
            "network.neuron.kind=lif"
        )
    if neuron.v_reset is not None or neuron.detach_reset:
        raise UsageError(
            f"{name} has neurons without reset, because a reset cannot be undone; remove "
            "network.neuron.reset and network.neuron.detach_reset"
        )
    decay = 1.0 - 1.0 / neuron.tau
    if decay < FLOOR - 1e-9:
        raise UsageError(
            f"network.neuron.decay={decay:g} is too small for {name}, which divides by it; use at least "
            f"{FLOOR}, such as 0.5"
        )
    return Spikes(neuron.surrogate_function, neuron.v_threshold), decay
