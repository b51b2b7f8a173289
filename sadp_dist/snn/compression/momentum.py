"""The optimizer's momentum, which decides where connections grow."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer

from sadp_dist.errors import UsageError


def momentum(optimizer: Optimizer, parameter: Tensor) -> Tensor:
    """Return the running mean of a parameter's gradients, in the parameter's shape.

    It is the momentum buffer of SGD, or exp_avg of Adam and AdamW. Before the first step it is 0.

    Raises:
        UsageError: the optimizer has no momentum.
    """
    state = optimizer.state.get(parameter, {})
    for name in ("momentum_buffer", "exp_avg"):
        if isinstance(state.get(name), Tensor):
            kept: Tensor = state[name]
            return kept
    if all(group.get("momentum", 0) == 0 and "betas" not in group for group in optimizer.param_groups):
        raise UsageError(
            "compression.method grows connections by the optimizer's momentum, and the optimizer has none; "
            "set training.momentum above 0, or training.optimizer=adamw"
        )
    return parameter.new_zeros(parameter.shape)
