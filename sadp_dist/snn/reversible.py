"""Computation over time that is undone in the backward pass, so that its memory does not grow with T.

A network has levels l = 1, ..., L with potentials c_l, and for each time step functions f_l of its own:

    c_l[t] = f_l(c_{l-1}[t], c_{l+1}[t-1]) + α_l c_l[t-1]

where c_0[t] is what comes in, and c_l = 0 before the first time step. There is no reset, so the potentials
of a step tell those of the one before, from the last level to the first:

    c_l[t-1] = (c_l[t] - f_l(c_{l-1}[t], c_{l+1}[t-1])) / α_l

Autograd would keep what every function of every step computed. Here the forward pass keeps the last
potentials alone; the backward pass goes back in time, computes one function again at a time, which gives
its gradients and the potentials one step earlier. That costs one more forward pass.

Levels see the spikes of others' potentials, not these themselves, and one spike more or less would change
all that is computed before it. So potentials are float64 whatever the network computes in: then what
rounding did, which a division by α_l magnifies, in T steps by 1 / α^(T-1), practically never moves one over
its threshold. Hence also no α is below ``FLOOR``.
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
    """The functions f_l of one time step, and its α_l.

    Args:
        levels: f_1, ..., f_L, called with c_{l-1}[t] and c_{l+1}[t-1]; the latter is None at the first time
            step and at the last level.
        decay: what α_1, ..., α_L are at first; None at the first time step, before which there is nothing.
        widths: channels of each level; each has its own α.
    """

    def __init__(self, levels: Sequence[nn.Module], decay: float | None, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.decays = nn.ParameterList(
            () if decay is None else (torch.full((width, 1, 1), decay) for width in widths)
        )

    @property
    def precision(self) -> torch.dtype:
        """Of the weights, and so of what levels are called with."""
        return next(self.levels.parameters()).dtype

    def alpha(self, level: int) -> Tensor:
        """α_l, at least ``FLOOR``; the gradient of a smaller parameter passes as if it were not."""
        decay: Tensor = self.decays[level].double()
        return decay + (decay.clamp(min=FLOOR) - decay).detach()

    def function(self, level: int, below: Tensor, above: Tensor | None) -> Tensor:
        """f_l, float64, computed in the weights' precision, or in that of torch.autocast."""
        dtype = self.precision
        current: Tensor = self.levels[level](below.to(dtype), None if above is None else above.to(dtype))
        return current.double()

    def forward(self, x: Tensor, potentials: Sequence[Tensor] | None) -> list[Tensor]:
        """c_1[t], ..., c_L[t], float64, of c_0[t] and of those one step before; None at the first step."""
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
    """What `readout` makes of c_L[t] at every step, [T, B, D], and the last potentials, as they are defined.

    Args:
        steps: one for every time step.
        readout: a module without parameters, [1, B, ...] to [1, B, D].
        x: c_0, [T, B, ...], or [1, B, ...] for one that is the same at every step.
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
    """The first result of :func:`plain`, and its gradients, with memory that does not grow with T.

    Batch norms see each batch twice, and take it into their running statistics once.
    """
    parameters = {parameter: None for step in steps for parameter in step.parameters()}
    outputs: Tensor = _Reversible.apply(steps, readout, x, *parameters)
    return outputs


class _Reversible(torch.autograd.Function):
    """Parameters are among the arguments, so that autograd hands their gradients on as any others."""

    @staticmethod
    def forward(
        ctx: Any, steps: Sequence[TimeStep], readout: nn.Module, x: Tensor, *parameters: Tensor
    ) -> Tensor:
        outputs, potentials = plain(steps, readout, x)
        ctx.steps, ctx.readout, ctx.parameters = steps, readout, parameters
        ctx.autocast = torch.is_autocast_enabled(x.device.type), torch.get_autocast_dtype(x.device.type)
        # Parameters are saved for autograd to notice if they change before they are used again.
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
        # Weights are cast anew in each function, for each has a graph of its own.
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
    """Gradients by parameter, added up."""

    def add(self, parameter: Tensor, gradient: Tensor | None) -> None:
        if gradient is not None:
            self[parameter] = self[parameter] + gradient if parameter in self else gradient


def _undo(
    step: TimeStep, x: Tensor, potentials: list[Tensor], errors: list[Tensor], first: bool, total: _Sum
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """From c_l[t] and their gradients to c_l[t-1], their gradients (none at first) and that of c_0[t]."""
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
    """x at one time step, [1, B, ...]; where there is one for all, that."""
    return x if len(x) == 1 else x[t : t + 1]


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms that are in training take the batch's statistics and leave the running ones alone."""
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
