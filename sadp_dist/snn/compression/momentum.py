"""The running mean of gradients, by which connections that are not there are told to grow."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from sadp_dist.errors import UsageError


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
