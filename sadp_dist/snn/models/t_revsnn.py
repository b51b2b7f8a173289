"""T-RevSNN, a temporal reversible SNN (Hu et al., ICML 2024), see :mod:`sadp_dist.snn.reversible`.

Four levels, each at half the width of the image of the one below (the last keeps it), and for every time
step a network of its own over them. Between time steps goes what the potentials of the levels keep: most
neurons have no memory (they are "off"), and those between levels have a potential that decays and is never
reset. In a time step a level takes the spikes of the level below, at the same step, and those of the level
above, one step before, through a convolution and batch norm each; two blocks follow, as ConvNeXt's with
standardised weights:

    x + g dw2(pw2(spikes(pw1(dw1(spikes(x))))))

where dw are convolutions of each channel by itself, pw are 1x1 and first widen four times, and g is a
factor of each channel. Of the second block, pw2 and dw2 are the same at all time steps, and g is 1.

As in the authors' public code: all of the above, channels, sizes of kernels, four time steps with the same
image at each, and α = 0.5 at first, one for every channel. Their network "small", with 512 channels at the
last level, is ``t_revsnn_resnet18``; without classifiers both have the same number of parameters, but for
four α of the first time step, which do nothing.

Ours: one linear classifier of the spikes of the last level for all time steps, where their loss has one at
each of four and throws three away. Depthwise weights that begin with variance 1 / N (their standard
deviation of 0.02 lets no neuron inside a block spike at first). α of at least 0.1 (theirs is 0.001, with
which a rounding error grows by a billion in four steps) and potentials in float64, see there: their code
keeps the potentials of every time step. The stem does not shrink images up to 48 pixels (that of
``t_revsnn_small``, which is narrower too, leaves 8 pixels or more), and is the same for all frames of
events. The neurons' threshold, surrogate and α are those of the configuration; theirs are ϑ = 0.5, "rect"
and 0.5.
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
POSITIONS = 8  # side of what the first level of the small network sees

Widths = tuple[int, int, int, int]


@register_network("t_revsnn_resnet18")
def build_t_revsnn_resnet18(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """T-RevSNN ResNet18 (512): a network a time step, reversible, so that memory does not grow with T."""
    widths = (96, 192, 384, 512)
    if blueprint.image_size <= SMALL_IMAGE:
        stem = _stem(blueprint.channels, widths[0], (3, 1), (3, 1))
    else:
        stem = _stem(blueprint.channels, widths[0], (7, 2), (3, 2))
    return stem, _body("t_revsnn_resnet18", widths, 5, blueprint)


@register_network("t_revsnn_small")
def build_t_revsnn_small(blueprint: Blueprint) -> tuple[nn.Module, nn.Module]:
    """A narrow T-RevSNN for CPUs, whose stem halves images twice, if 8 pixels are left."""
    widths = (32, 64, 96, 128)
    first, second = (2 if blueprint.image_size >= POSITIONS * factor else 1 for factor in (4, 2))
    stem = _stem(blueprint.channels, widths[0], (3, first), (3, second))
    return stem, _body("t_revsnn_small", widths, 3, blueprint)


class Spikes(nn.Module):
    """Neurons without memory: 1 where the current reaches ϑ, else 0."""

    def __init__(self, surrogate_function: SurrogateFunctionBase, v_threshold: float) -> None:
        super().__init__()
        self.surrogate_function = surrogate_function
        self.v_threshold = v_threshold

    def forward(self, x: Tensor) -> Tensor:
        spikes: Tensor = self.surrogate_function(x - self.v_threshold)
        return spikes


class ConvBlock(nn.Module):
    """x + g dw2(pw2(spikes(pw1(dw1(spikes(x)))))), [1, B, D, H, W] in and out.

    Args:
        width: D.
        kernel_size: of the depthwise convolutions.
        spikes: the neurons.
        end: pw2 and dw2, where they are shared; then there is no g.
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
    """pw2 and dw2."""
    return nn.Sequential(
        StandardisedConv2d(EXPANSION * width, width, 1, gamma=1.0), depthwise(width, kernel_size)
    )


def depthwise(width: int, kernel_size: int) -> layer.Conv2d:
    conv = layer.Conv2d(width, width, kernel_size, padding=kernel_size // 2, groups=width)
    nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="linear")
    nn.init.zeros_(conv.bias)
    return conv


class Level(nn.Module):
    """f_l of one time step, [1, B, D, H, W].

    Args:
        below: the width of the level below; None for the first, which takes the stem's current as it is.
        width: D.
        above: the width of the level above; None for the last, and at the first time step.
        shrink: halve the image of the level below.
        kernel_size: of the blocks' depthwise convolutions.
        end: of the second block, shared by all time steps.
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
    """Spikes of another level, by a convolution and batch norm."""
    kernel_size, stride = (3, 2) if shrink else (1, 1)
    conv = layer.Conv2d(inputs, outputs, kernel_size, stride, padding=kernel_size // 2, bias=False)
    return nn.Sequential(spikes, conv, layer.BatchNorm2d(outputs))


class TRevSNN(nn.Module):
    """The body: currents [T, B, C, H, W], or [1, B, C, H, W] for the same at each step, to logits [T, B, K].

    Attributes:
        stepwise: False: T calls of one time step are not one call of T.
        repeats: True: it takes [1, B, ...] for what is the same at every time step.
        reversible: False lets autograd keep what it wants, which takes memory for every time step.

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
                f"the input has {len(x)} time steps, and this network has weights for {len(steps)}: build it "
                f"with network.time_steps: {len(x)}"
            )
        if self.reversible:
            rates = reversible(steps, self.readout, x)
        else:
            rates, _ = plain(steps, self.readout, x)
        logits: Tensor = self.classifier(rates)
        return logits


def _stem(channels: int, width: int, first: tuple[int, int], second: tuple[int, int]) -> nn.Sequential:
    """Two convolutions, of kernel size and stride each, with nothing between them."""
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
    """Neurons without memory like those of the blueprint, and the decay of these."""
    neuron = blueprint.neuron()
    if not isinstance(neuron, LIFNode):
        raise UsageError(
            f"{name} is reversible by what its neurons' potentials keep over time, and a "
            f'{type(neuron).__name__} has none: use neuron kind "lif"'
        )
    if neuron.v_reset is not None or neuron.detach_reset:
        raise UsageError(
            f"{name} never resets its potentials, for a reset could not be undone: leave reset and "
            "detach_reset of the neurons out"
        )
    decay = 1.0 - 1.0 / neuron.tau
    if decay < FLOOR - 1e-9:
        raise UsageError(
            f"decay={decay:g} is too small for {name}, which divides by it: use {FLOOR} or more, as 0.5"
        )
    return Spikes(neuron.surrogate_function, neuron.v_threshold), decay
