"""Reversible computation over time: the memory of a backward pass does not grow with T.

A network has levels l = 1, ..., L with potentials c_l. Each time step has its own functions f_l:

    c_l[t] = f_l(c_{l-1}[t], c_{l+1}[t-1]) + α_l c_l[t-1]

c_0[t] is the input, and c_l = 0 before the first time step. There is no reset, so the potentials of a time
step determine those of the step before, from the last level to the first:

    c_l[t-1] = (c_l[t] - f_l(c_{l-1}[t], c_{l+1}[t-1])) / α_l

Autograd would keep the intermediate results of all functions and time steps. Here the forward pass keeps only
the last potentials. The backward pass goes back in time and computes one function at a time again, which
gives its gradients and the potentials of the step before. The cost is one additional forward pass.

The functions get spikes of the potentials. One changed spike would change all earlier time steps, so rounding
must not move a potential over its threshold. Division by α_l amplifies rounding errors, in T steps by
1 / α^(T-1). Therefore potentials are always float64, and α is at least ``FLOOR``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

FLOOR = 0.1


class TimeStep(nn.Module):
    """The functions f_l and the factors α_l of one time step.

    Args:
        levels: f_1, ..., f_L, functions of c_{l-1}[t] and c_{l+1}[t-1]. The second argument is None at the
            first time step and at the last level.
        decay: initial value of α_1, ..., α_L; None at the first time step, which has no α.
        widths: channels of each level. Every channel has its own α.
    """

    def __init__(self, levels: Sequence[nn.Module], decay: float | None, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.decays = nn.ParameterList(
            () if decay is None else (torch.full((width, 1, 1), decay) for width in widths)
        )

    @property
    def precision(self) -> torch.dtype:
        """The dtype of the weights and of the levels' inputs."""
        return next(self.levels.parameters()).dtype

    def alpha(self, level: int) -> Tensor:
        """Return α_l, at least ``FLOOR``, in float64. The gradient ignores this bound."""
        decay: Tensor = self.decays[level].double()
        return decay + (decay.clamp(min=FLOOR) - decay).detach()

    def function(self, level: int, below: Tensor, above: Tensor | None) -> Tensor:
        """Return f_l as float64, computed in the precision of the weights or of torch.autocast."""
        dtype = self.precision
        current: Tensor = self.levels[level](below.to(dtype), None if above is None else above.to(dtype))
        return current.double()

    def forward(self, x: Tensor, potentials: Sequence[Tensor] | None) -> list[Tensor]:
        """Return c_1[t], ..., c_L[t], float64, from c_0[t] and the potentials at t-1 (None at first)."""
        after: list[Tensor] = []
        below = x
        for level in range(len(self.levels)):
            if potentials is None:
                below = self.function(level, below, None)
            else:
                above = potentials[level + 1] if level + 1 < len(self.levels) else None
                below = self.function(level, below, above) + self.alpha(level) * potentials[level]
            after.append(below)
        return after


def plain(steps: Sequence[TimeStep], readout: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Compute all time steps with plain autograd.

    Args:
        steps: one for each time step.
        readout: a module without parameters, from c_L[t] [1, B, ...] to [1, B, D].
        x: c_0 [T, B, ...], or [1, B, ...] for an input that is the same at every time step.

    Returns:
        The readout of every time step, [T, B, D], and the last potentials.
    """
    potentials: list[Tensor] | None = None
    outputs = []
    for t, step in enumerate(steps):
        potentials = step(_at(x, t), potentials)
        outputs.append(readout(potentials[-1].to(step.precision)))
    assert potentials is not None
    return torch.cat(outputs), potentials


@torch.compiler.disable
def reversible(steps: Sequence[TimeStep], readout: nn.Module, x: Tensor) -> Tensor:
    """Compute the first result of :func:`plain` with memory that does not grow with T.

    Batch norms compute each batch twice, but update their running statistics once.
    """
    parameters = {parameter: None for step in steps for parameter in step.parameters()}
    outputs: Tensor = _Reversible.apply(steps, readout, x, *parameters)
    return outputs


class _Reversible(torch.autograd.Function):
    """The autograd function of `reversible`. Its arguments include the parameters, for their gradients."""

    @staticmethod
    def forward(
        ctx: Any, steps: Sequence[TimeStep], readout: nn.Module, x: Tensor, *parameters: Tensor
    ) -> Tensor:
        outputs, potentials = plain(steps, readout, x)
        ctx.steps, ctx.readout, ctx.parameters = steps, readout, parameters
        ctx.autocast = torch.is_autocast_enabled(x.device.type), torch.get_autocast_dtype(x.device.type)
        # Parameters are saved so that autograd detects a change before the backward pass.
        ctx.save_for_backward(x, *potentials, *parameters)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, from_outputs: Tensor) -> tuple[Tensor | None, ...]:
        levels = len(ctx.steps[0].levels)
        x, *potentials = ctx.saved_tensors[: 1 + levels]
        total = _Sum()
        from_x = torch.zeros_like(x)
        errors = [torch.zeros_like(c) for c in potentials]  # gradients of c_l[t]
        enabled, dtype = ctx.autocast
        # No cache: each function has its own graph, so it must cast the weights itself.
        with torch.autocast(x.device.type, dtype, enabled=enabled, cache_enabled=False):
            for t in reversed(range(len(ctx.steps))):
                step: TimeStep = ctx.steps[t]
                with torch.enable_grad():
                    top = potentials[-1].detach().requires_grad_()
                    output = ctx.readout(top.to(step.precision))
                (error,) = torch.autograd.grad(output, top, from_outputs[t : t + 1])
                errors[-1] = errors[-1] + error
                potentials, errors, error = _undo(step, _at(x, t), potentials, errors, t == 0, total)
                _at(from_x, t).add_(error)
        return None, None, from_x, *(total.get(parameter) for parameter in ctx.parameters)


class _Sum(dict[Tensor, Tensor]):
    """Sums of gradients by parameter."""

    def add(self, parameter: Tensor, gradient: Tensor | None) -> None:
        if gradient is not None:
            self[parameter] = self[parameter] + gradient if parameter in self else gradient


def _undo(
    step: TimeStep, x: Tensor, potentials: list[Tensor], errors: list[Tensor], first: bool, total: _Sum
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return c_l[t-1] and its gradients (none at the first step), and the gradient of c_0[t]."""
    errors = [*errors]
    before: dict[int, Tensor] = {}
    errors_before: dict[int, Tensor] = {}
    from_below = x
    for level in reversed(range(len(potentials))):
        error = errors[level]
        below = (potentials[level - 1] if level > 0 else x).detach().requires_grad_()
        above = before[level + 1].detach().requires_grad_() if level + 1 in before else None
        with torch.enable_grad(), _frozen_statistics(step.levels[level]):
            current = step.function(level, below, above)
        weights = [weight for weight in step.levels[level].parameters() if weight.requires_grad]
        inputs = [below] if above is None else [below, above]
        gradients = torch.autograd.grad(current, [*inputs, *weights], error, allow_unused=True)
        for weight, gradient in zip(weights, gradients[len(inputs) :], strict=True):
            total.add(weight, gradient)
        from_below = gradients[0]
        if level > 0:
            errors[level - 1] = errors[level - 1] + from_below
        if above is not None:
            errors_before[level + 1] = errors_before[level + 1] + gradients[1]
        if not first:
            alpha = step.alpha(level).detach()
            before[level] = (potentials[level] - current.detach()) / alpha
            errors_before[level] = alpha * error
            decay = step.decays[level]
            if decay.requires_grad:
                total.add(decay, (error * before[level]).sum_to_size(decay.shape).to(decay.dtype))
    order = range(len(before))
    return [before[level] for level in order], [errors_before[level] for level in order], from_below


def _at(x: Tensor, t: int) -> Tensor:
    """Return x [1, B, ...] at a time step. An x with one time step is the same at all of them."""
    return x if len(x) == 1 else x[t : t + 1]


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Stop batch norms in training mode from updating their running statistics."""
    norms = [
        m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
