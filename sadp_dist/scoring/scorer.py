"""The spike-aware importance score (Eq. 29), computed by hooks during forward and backward."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sadp_dist.errors import UsageError
from sadp_dist.scoring.hooks import InputShapes, Tap
from sadp_dist.scoring.layer_selection import choose_layers, unwrapped
from sadp_dist.scoring.layers import GRADIENT_NORMS, ROW_NORMS
from sadp_dist.scoring.layouts import find_layout, input_time_steps


class SpikeAwareScorer:
    """Computes a score for every example from one forward and its backward.

        scorer = SpikeAwareScorer(model)
        with scorer:
            loss = (coefficients * per_example_loss).sum()
            loss.backward()
        scores = scorer.scores(coefficients)

    The score of example i bounds the norm of its gradient (Eq. 29):

        G_i = Σ_l Σ_t ‖δ_i^l[t]‖ ‖o_i^{l-1}[t]‖

    over the chosen layers l. δ_i is the gradient of the example's own loss with respect to the layer's
    output, and o_i is the layer's input. With `exact`, the score is the norm itself (Eqs. 6-8):

        ‖∇_W ℓ_i‖ = sqrt(Σ_l ‖Σ_t δ_i^l[t] o_i^{l-1}[t]ᵀ‖²)

    It detects multi-step, single-step and flattened networks (`sadp_dist.scoring.layouts`). All calls of the
    network in one `with` belong to the same examples and add up. For accumulated gradients, use one `with`
    and one `scores` per micro-batch. Outside the `with`, the hooks do nothing. Until `scores`, only norms are
    kept; with `exact`, the layers' inputs and errors.

    With torch.compile, create the scorer before the model's first call, and do not set fullgraph: inside the
    `with`, the graph breaks at each scored layer, once for "last".

    Args:
        model: the network, also wrapped by DDP or torch.compile.
        layers: "last": the last trainable Linear or Conv layer in the order of registration; "all": all of
            them; or names of such layers, as in `model.named_modules()`.
        exact: compute the norm instead of its bound; Linear layers only.
        time_steps: T: every layer has 1 or T time steps. Required if the network's input is flattened,
            [T * B, ...]; otherwise found from shapes, except in the ambiguous cases of `find_layout`.

    Raises:
        UsageError: a name is unknown, a layer is frozen or has no score of this kind, or there is no layer.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: str | Sequence[str] = "last",
        exact: bool = False,
        time_steps: int | None = None,
    ) -> None:
        if time_steps is not None and time_steps < 1:
            raise UsageError(
                f"time_steps={time_steps} must be at least 1; give the network's number of time steps"
            )
        self.exact = exact
        self.time_steps = time_steps
        self._layers = choose_layers(model, layers, exact)
        self._taps = {
            name: Tap(torch.detach if exact else ROW_NORMS[layer]) for name, layer in self._layers.items()
        }
        self._input_shapes = InputShapes()
        # torch.compile looks for hooks only when it compiles, so they stay and do nothing outside the `with`.
        hooks = [
            layer.register_forward_hook(self._taps[name], with_kwargs=True)
            for name, layer in self._layers.items()
        ]
        hooks.append(unwrapped(model).register_forward_pre_hook(self._input_shapes, with_kwargs=True))
        weakref.finalize(self, _remove, hooks)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the scored layers."""
        return tuple(self._layers)

    def __enter__(self) -> SpikeAwareScorer:
        for hook in self._hooks:
            hook.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.stop()
            if error is not None:
                hook.clear()

    @torch.no_grad()
    def scores(self, coefficients: Tensor, grad_scaler: torch.amp.GradScaler | None = None) -> Tensor:
        """Return the scores of the examples of the last `with`, and free what the hooks kept.

        Args:
            coefficients: (B,) the c_i of the back-propagated loss Σ c_i ℓ_i. The hooks see c_i δ_i; each
                score is divided by |c_i|, so it belongs to ℓ_i and does not depend on weight and batch.
            grad_scaler: the scaler of this loss. Call `scores` before its `update()` changes the scale.

        Returns:
            (B,) float32 on the model's device. NaN where the coefficient is 0, and with a `grad_scaler` where
            the scaled gradient overflowed (the scaler then skips the step).

        Raises:
            UsageError: coefficients does not have the shape of the batch, or a layer has no gradient.
        """
        if coefficients.dim() != 1 or len(coefficients) == 0:
            raise UsageError(
                f"coefficients has shape {list(coefficients.shape)}; give one number per example, shape [B]"
            )
        self._require_gradients()
        batch = len(coefficients)
        steps = {input_time_steps(shapes, batch, self.time_steps) for shapes in self._input_shapes.calls}
        input_steps = steps.pop() if len(steps) == 1 else None
        norms = [self._norms(name, batch, input_steps) for name in self._layers]
        by_layer = torch.stack([norm.to(norms[0].device) for norm in norms])
        total = torch.linalg.vector_norm(by_layer, dim=0) if self.exact else by_layer.sum(dim=0)

        scale = coefficients.detach().to(total.device, torch.float32).abs()
        scored = scale != 0
        if grad_scaler is not None and grad_scaler.is_enabled():
            scale = grad_scaler.scale(scale)
            scored &= total.isfinite()
        for hook in self._hooks:
            hook.clear()
        return torch.where(scored, total / scale, torch.nan).float()

    @property
    def _hooks(self) -> tuple[InputShapes | Tap, ...]:
        return (self._input_shapes, *self._taps.values())

    def _norms(self, name: str, batch: int, input_steps: int | None) -> Tensor:
        """Return c_i times one layer's part of G_i, or its exact gradient norm, over all its calls, (B,)."""
        layer = self._layers[name]
        step_mode = getattr(layer, "step_mode", None)
        inputs, errors = [], []
        for o, δ in self._taps[name].calls:
            rows = o.shape[:-1] if self.exact else o.shape
            layout = find_layout(
                rows,
                batch,
                layer=name,
                step_mode=step_mode,
                time_steps=self.time_steps,
                input_steps=input_steps,
            )
            inputs.append(o.reshape(*layout, *o.shape[len(rows) :]))
            errors.append(δ.reshape(*layout, *δ.shape[len(rows) :]))
        if self.exact:
            δ, o = (_by_example(tensors) for tensors in (errors, inputs))
            return GRADIENT_NORMS[layer](δ, o)
        norm = torch.linalg.vector_norm
        products = [norm(δ, dim=2) * norm(o, dim=2) for δ, o in zip(errors, inputs, strict=True)]
        return torch.cat(products).sum(dim=0)

    def _require_gradients(self) -> None:
        without = [name for name, tap in self._taps.items() if not tap.calls]
        if len(without) == len(self._taps):
            raise UsageError(
                "the scored layers have no gradient; run a forward and its backward inside `with scorer:` "
                "before each scores(), and with torch.compile create the scorer before the model's first call"
            )
        if without:
            raise UsageError(
                f"layer {without[0]!r} has no gradient; give layers=[...] with layers that the network uses"
            )


def _by_example(calls: list[Tensor]) -> Tensor:
    """Join calls of shape [T, B, N, D] along the rows of each example, [B, T * N, D]."""
    return torch.cat([call.transpose(0, 1).flatten(1, 2) for call in calls], dim=1)


def _remove(hooks: list[RemovableHandle]) -> None:
    for hook in hooks:
        hook.remove()
