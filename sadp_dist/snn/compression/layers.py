"""A network's layers with weights: which there are, and how many of their weights there are."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

from sadp_dist.errors import UsageError

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

PARAMETRIZED = ".parametrizations.weight.original"
"""How the name ends, in a network's state, of what is trained behind a weight; else it is `.weight`."""


def weighted_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The linear and convolutional layers that are trained, by name, in the order of registration."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, WEIGHTED) and weight_parameter(module).requires_grad
    }


def weight_parameter(layer: nn.Module) -> Tensor:
    """What the optimizer trains of a layer's weight, also where a parametrization stands before it."""
    if parametrize.is_parametrized(layer, "weight"):
        return layer.parametrizations.weight.original  # type: ignore[union-attr,return-value]
    return layer.weight  # type: ignore[return-value]


def count_parameters(network: nn.Module) -> int:
    """All trained numbers of a network, norms and biases included."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def momentum(optimizer: Optimizer, parameter: Tensor) -> Tensor:
    """The running mean of a parameter's gradients that the optimizer keeps; zeros before the first step.

    SGD's momentum buffer, or the exp_avg of Adam and AdamW, in the parameter's shape.

    Raises:
        UsageError: the optimizer keeps none.
    """
    state = optimizer.state.get(parameter, {})
    for name in ("momentum_buffer", "exp_avg"):
        if isinstance(state.get(name), Tensor):
            kept: Tensor = state[name]
            return kept
    if all(group.get("momentum", 0) == 0 and "betas" not in group for group in optimizer.param_groups):
        raise UsageError(
            "connections are grown by the optimizer's momentum, and this one keeps none: "
            "set training.momentum above 0, or training.optimizer=adamw"
        )
    return parameter.new_zeros(parameter.shape)
