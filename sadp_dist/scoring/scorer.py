"""The spike-aware importance score: what Eq. 29 needs passes by in training anyway, and is read as it does."""

from __future__ import annotations

import difflib
import weakref
from collections.abc import Iterator, Sequence
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from sadp_dist.errors import UsageError
from sadp_dist.scoring.layers import GRADIENT_NORMS, ROW_NORMS, find
from sadp_dist.scoring.layouts import find_layout
from sadp_dist.scoring.taps import Tap


class SpikeAwareScorer:
    """A per-example score from one forward and its backward.

    The score of example i is the bound on its gradient's norm of Eq. 29,

        G_i = Σ_l Σ_t ‖δ_i^l[t]‖ ‖o_i^{l-1}[t]‖,

    over the chosen layers l, where δ is the gradient of the example's own loss ℓ_i with respect to the layer's output
    and o is the layer's input. With `exact` it is the norm itself (Eq. 8), sqrt(Σ_l ‖Σ_t δ_i^l[t] o_i^{l-1}[t]ᵀ‖²).

        scorer = SpikeAwareScorer(model)
        with scorer:
            loss = (coefficients * per_example_loss).sum()
            loss.backward()
        scores = scorer.scores(coefficients)

    Works with multi-step, single-step and flattened networks (`sadp_dist.scoring.layouts`), several calls of the
    network on the same examples in one `with` (they add up), DDP, autocast, gradient accumulation (one `with` and one
    `scores` per micro-batch) and activation checkpointing. Outside the `with` nothing is read. Between the forward and
    `scores` it holds norms alone; with `exact`, the layers' inputs and errors.

    With torch.compile, make the scorer before the model's first call. The graph breaks after each scored layer while the
    scorer is entered, so "last" costs little and fullgraph=True is not possible.

    Args:
        model: the network, plain or wrapped by DDP or torch.compile.
        layers: "last", the last trainable Linear or Conv layer in the order of registration; "all" of them; or names
            as in `model.named_modules()`.
        exact: the norm instead of its bound, for Linear layers only.
        time_steps: T. Shapes tell it but for corner cases (`find_layout`); with it every shape is checked as well.

    Raises:
        UsageError: an unknown name, a frozen layer, a type of layer that has no score, or no layer left.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: str | Sequence[str] = "last",
        exact: bool = False,
        time_steps: int | None = None,
    ) -> None:
        if time_steps is not None and time_steps < 1:
            raise UsageError(f"time_steps is {time_steps}; give the network's number of time steps, 1 or more")
        self.exact = exact
        self.time_steps = time_steps
        self._layers = _choose(model, layers, exact)
        self._taps = {name: Tap() if exact else Tap(find(ROW_NORMS, layer)) for name, layer in self._layers.items()}
        handles = [tap.attach(self._layers[name]) for name, tap in self._taps.items()]
        weakref.finalize(self, lambda: [handle.remove() for handle in handles])

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the scored layers."""
        return tuple(self._layers)

    def __enter__(self) -> SpikeAwareScorer:
        for tap in self._taps.values():
            tap.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for tap in self._taps.values():
            tap.stop()
            if kind is not None:
                tap.clear()

    @torch.no_grad()
    def scores(self, coefficients: Tensor, grad_scaler: torch.amp.GradScaler | None = None) -> Tensor:
        """The scores of the examples that went through the last `with`, in the batch's order; what was read is dropped.

        Args:
            coefficients: (B,) c_i of the loss Σ c_i ℓ_i that was back-propagated. What the layers saw is c_i δ_i, so
                each score is divided by its own c_i and belongs to ℓ_i alone.
            grad_scaler: the scaler that scaled the loss. Ask for the scores before its `update()` changes the scale.

        Returns:
            (B,) float32 on the model's device. NaN where the coefficient is 0, and where a scaled loss overflowed.

        Raises:
            UsageError: coefficients of another shape than the batch, or a layer that got no gradient.
        """
        if coefficients.dim() != 1 or not len(coefficients):
            raise UsageError(
                f"coefficients has shape {list(coefficients.shape)}; give one number per example of the batch, [B]"
            )
        self._check_gradients()
        norms = [self._layer_norms(name, len(coefficients)) for name in self._layers]
        device = norms[0].device
        by_layer = torch.stack([norm.to(device) for norm in norms])
        total = torch.linalg.vector_norm(by_layer, dim=0) if self.exact else by_layer.sum(dim=0)

        coefficients = coefficients.detach().to(device, torch.float32)
        scale = coefficients.abs()
        scored = coefficients != 0
        if grad_scaler is not None:
            scale = grad_scaler.scale(scale)
            scored &= total.isfinite()
        for tap in self._taps.values():
            tap.clear()
        return torch.where(scored, total / scale, torch.nan)

    def _layer_norms(self, name: str, batch: int) -> Tensor:
        """(B,) one layer's share of c_i G_i, over all its calls."""
        layer, calls = self._layers[name], self._taps[name].calls
        step_mode = getattr(layer, "step_mode", None)

        def by_time(kept: Tensor, features: int) -> Tensor:
            """[*, ...] -> [T, B, N, ...]."""
            rows = kept.shape[: kept.dim() - features]
            layout = find_layout(rows, batch, layer=name, step_mode=step_mode, time_steps=self.time_steps)
            return kept.reshape(layout.time, layout.batch, layout.tokens, *kept.shape[len(rows) :])

        if self.exact:
            by_example = [[by_time(x, 1).transpose(0, 1).flatten(1, 2) for x in (c.error, c.input)] for c in calls]
            δ, o = (torch.cat(x, dim=1) for x in zip(*by_example, strict=True))
            return find(GRADIENT_NORMS, layer)(δ, o)
        products = [
            torch.linalg.vector_norm(by_time(c.error, 0), dim=2) * torch.linalg.vector_norm(by_time(c.input, 0), dim=2)
            for c in calls
        ]
        return torch.cat(products).sum(dim=0)

    def _check_gradients(self) -> None:
        without = [name for name, tap in self._taps.items() if not tap.calls]
        if len(without) == len(self._taps):
            raise UsageError(
                "no gradient reached the scored layers; run a forward and its backward inside `with scorer:` before "
                "each scores() (with torch.compile, make the scorer before the model's first call)"
            )
        if without:
            raise UsageError(
                f"layer {without[0]!r} got no gradient in this backward; leave it out with layers=[...], or use it in the loss"
            )


def _choose(model: nn.Module, layers: str | Sequence[str], exact: bool) -> dict[str, nn.Module]:
    modules = dict(_named_modules(model))
    trainable = {name: layer for name, layer in modules.items() if find(ROW_NORMS, layer) and _is_trainable(layer)}
    if isinstance(layers, str) and layers in ("last", "all"):
        names = list(trainable)[-1:] if layers == "last" else list(trainable)
        if not names:
            raise UsageError(f"layers={layers!r}: the model has no trainable Linear or Conv layer to score")
    else:
        names = [layers] if isinstance(layers, str) else list(layers)
        if not names:
            raise UsageError('layers is empty; give "last", "all" or a list of module names')
    for name in names:
        if name not in modules:
            near = difflib.get_close_matches(name, ["last", "all", *trainable], n=1, cutoff=0)
            raise UsageError(f'layers: the model has no module {name!r}; did you mean {near[0]!r}? (or "last", "all")')
        if not find(ROW_NORMS, modules[name]):
            kind = type(modules[name]).__name__
            raise UsageError(f"layers: module {name!r} is a {kind}; a score needs a Linear or Conv layer")
        if name not in trainable:
            raise UsageError(f"layers: layer {name!r} is frozen; name trainable layers, or let its weight require grad")
        if exact and not find(GRADIENT_NORMS, modules[name]):
            kind = type(modules[name]).__name__
            raise UsageError(f"exact=True is for Linear layers, but {name!r} is a {kind}; name others, or use exact=False")
    return {name: modules[name] for name in names}


def _is_trainable(layer: nn.Module) -> bool:
    return isinstance(layer.weight, Tensor) and layer.weight.requires_grad


def _named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules by the names they have before DDP, torch.compile or checkpointing wraps them."""
    while True:
        if isinstance(model, (DistributedDataParallel, DataParallel)):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = model._orig_mod
        else:
            break
    wrappers = {"_orig_mod", "_checkpoint_wrapped_module"}
    for name, module in model.named_modules():
        yield ".".join(part for part in name.split(".") if part not in wrappers), module
