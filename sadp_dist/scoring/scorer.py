"""The spike-aware importance score: what Eq. 29 needs passes by in training, and is read as it does."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sadp_dist.errors import UsageError
from sadp_dist.scoring.chosen import choose_layers, unwrapped
from sadp_dist.scoring.layers import GRADIENT_NORMS, ROW_NORMS
from sadp_dist.scoring.layouts import find_layout, input_time_steps
from sadp_dist.scoring.taps import Entrance, Tap


class SpikeAwareScorer:
    """A score for every example from one forward and its backward.

        scorer = SpikeAwareScorer(model)
        with scorer:
            loss = (coefficients * per_example_loss).sum()
            loss.backward()
        scores = scorer.scores(coefficients)

    The score of example i bounds the norm of its gradient (Eq. 29):

        G_i = Σ_l Σ_t ‖δ_i^l[t]‖ ‖o_i^{l-1}[t]‖

    over the chosen layers l, where δ_i is the gradient of the example's own loss with respect to the
    layer's output and o_i is the layer's input. With `exact` it is that norm (Eqs. 6-8):

        ‖∇_W ℓ_i‖ = sqrt(Σ_l ‖Σ_t δ_i^l[t] o_i^{l-1}[t]ᵀ‖²)

    Multi-step, single-step and flattened networks are told apart (`sadp_dist.scoring.layouts`). Calls of the
    network in one `with` are of the same examples and add up, so each micro-batch of an accumulated gradient
    has its own `with` and `scores`. Outside the `with` nothing is read. What is kept until `scores` is norms
    alone; with `exact`, the layers' inputs and errors.

    With torch.compile, make the scorer before the model's first call and leave fullgraph off: while the
    scorer is entered, the graph breaks at each scored layer, which with "last" is once.

    Args:
        model: the network, bare or wrapped by DDP or torch.compile.
        layers: "last", the last trainable Linear or Conv layer in the order of registration; "all" of them;
            or names of such layers as in `model.named_modules()`.
        exact: the norm and not its bound; Linear layers only.
        time_steps: T; every layer then sees 1 or T time steps. It is needed for a network whose input is
            flattened, [T * B, ...]. Else shapes tell it but for the corner cases of `find_layout`.

    Raises:
        UsageError: an unknown name, a frozen layer, a module without a score of this kind, or no layer.
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
                f"time_steps is {time_steps}; give the network's number of time steps, at least 1"
            )
        self.exact = exact
        self.time_steps = time_steps
        self._layers = choose_layers(model, layers, exact)
        self._taps = {
            name: Tap(torch.detach if exact else ROW_NORMS[layer]) for name, layer in self._layers.items()
        }
        self._entrance = Entrance()
        # torch.compile looks for hooks only when it compiles: they stay, and are inert outside the `with`.
        hooks = [
            layer.register_forward_hook(self._taps[name], with_kwargs=True)
            for name, layer in self._layers.items()
        ]
        hooks.append(unwrapped(model).register_forward_pre_hook(self._entrance, with_kwargs=True))
        weakref.finalize(self, _remove, hooks)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers that are scored."""
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
        """The scores of the examples of the last `with`; what was read of them is dropped.

        Args:
            coefficients: (B,) the c_i of the loss Σ c_i ℓ_i that was back-propagated. The layers saw c_i δ_i;
                a score is divided by its |c_i|, and so belongs to ℓ_i whatever its weight and its batch.
            grad_scaler: what scaled this loss. Ask for scores before its `update()` changes the scale.

        Returns:
            (B,) float32 on the model's device. NaN where the coefficient is 0; with a `grad_scaler` also
            where the scaled gradient overflowed, which is when the scaler skips the step.

        Raises:
            UsageError: coefficients is not of the batch's shape, or a layer got no gradient.
        """
        if coefficients.dim() != 1 or len(coefficients) == 0:
            raise UsageError(
                f"coefficients has shape {list(coefficients.shape)}; give one number per example, shape [B]"
            )
        self._require_gradients()
        batch = len(coefficients)
        steps = {input_time_steps(shapes, batch, self.time_steps) for shapes in self._entrance.calls}
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
    def _hooks(self) -> tuple[Entrance | Tap, ...]:
        return (self._entrance, *self._taps.values())

    def _norms(self, name: str, batch: int, input_steps: int | None) -> Tensor:
        """(B,) c_i times one layer's part of G_i, or its exact gradient norm, over all calls of the layer."""
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
                "no gradient reached the scored layers; run a forward and its backward inside `with scorer:` "
                "before each scores(), and with torch.compile make the scorer before the model's first call"
            )
        if without:
            raise UsageError(f"layer {without[0]!r} got no gradient; give layers=[names of layers in use]")


def _by_example(calls: list[Tensor]) -> Tensor:
    """Of calls [T, B, N, D] all rows of each example, [B, T * N, D] with the calls' rows together."""
    return torch.cat([call.transpose(0, 1).flatten(1, 2) for call in calls], dim=1)


def _remove(hooks: list[RemovableHandle]) -> None:
    for hook in hooks:
        hook.remove()
