"""The spike-aware importance score (Eq. 29), computed by hooks during forward and backward."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError
from sadp_dist.scoring.call_graph import CallGraph
from sadp_dist.scoring.hooks import Call, PassStart, Tap
from sadp_dist.scoring.layer_selection import (
    biases_of,
    check_exact,
    choose_layers,
    named_weights,
    unwrapped,
    weights_of,
)
from sadp_dist.scoring.layers import bias_share, kind_of, row_norms
from sadp_dist.scoring.layouts import (
    Outermost,
    find_layout,
    flattened_by_containers,
    input_time_steps,
)


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
    output, and o_i is the layer's input. For a layer with a bias, o_i includes the input of the bias, 1, so
    that ‖o_i‖ becomes sqrt(‖o_i‖² + 1); with `bias=False` it does not, as in the published Eq. 29. With
    `exact`, the score is the norm itself (Eqs. 6-8), of weights and biases:

        ‖∇_W ℓ_i‖ = sqrt(Σ_l ‖Σ_t δ_i^l[t] o_i^{l-1}[t]ᵀ‖²)

    W is the weight that the layer uses, also if it is computed from other tensors, as with weight
    normalisation. Layers that share a weight have one gradient.

    It detects multi-step, single-step and flattened networks (`sadp_dist.scoring.layouts`). Outside the
    `with`, the hooks do nothing. Until `scores`, only norms are kept; with `exact`, the layers' inputs and
    errors.

    All calls of the network in one `with` belong to the same examples and add up, as long as their gradients
    do: if the weights have changed or their gradients are None, a call of the network begins a new pass, and
    the scores are those of the last pass. So the closures of LBFGS and SAM can run several times in one
    `with`. For accumulated gradients, use one `with` and one `scores` per micro-batch.

    The first pass finds the order of the layers. One warning names weights that have no part in the scores:
    with "all", of other kinds of layers or used without a call of their layer; with "last", those among them
    that the network uses after the scored layer. Vectors, as in batch norm, have no part and are not named.

    With torch.compile, create the scorer before the model's first call, and do not set fullgraph: inside the
    `with`, the graph breaks at each scored layer, for "last" in the first pass at every layer and then once.

    Args:
        model: the network, also wrapped by DDP or torch.compile.
        layers: "last": the last trainable layer in the order of execution, or those of all heads that the
            loss reaches; "all": all of them; or names of layers, as in `model.named_modules()`. Linear, Conv,
            ConvTranspose and Embedding layers have scores.
        exact: compute the norm instead of its bound; Linear and Embedding layers only.
        time_steps: T: every layer has 1 or T time steps. Required if the network's input is flattened,
            [T * B, ...]; otherwise found from shapes, except in the ambiguous cases of `find_layout`.
        layout: which of time and batch is outermost: "time" for [T, B, ...] and [T * B, ...], "batch" for
            [B, T, ...] and [B * T, ...]. Required if a layer's rows are flattened and the network's input is
            not [T, B, ...].
        bias: whether layers with a bias have it in their scores.

    Raises:
        UsageError: a name is unknown, a layer is frozen or has no score of this kind, or there is no layer.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: str | Sequence[str] = "last",
        exact: bool = False,
        time_steps: int | None = None,
        layout: Outermost | None = None,
        bias: bool = True,
    ) -> None:
        if time_steps is not None and time_steps < 1:
            raise UsageError(
                f"time_steps={time_steps} must be at least 1; give the network's number of time steps"
            )
        if layout is not None:
            check_choice("layout", layout, ("time", "batch"))
        self.exact, self.time_steps, self.layout, self.bias = exact, time_steps, layout, bias
        self._choice = layers
        self._time_first = False
        """Whether an input was [T, B, ...]; a batch with B = T does not tell."""
        self._layers = choose_layers(model, layers, exact)
        self._taps = {name: self._tap(name, layer) for name, layer in self._layers.items()}
        self._network = network = unwrapped(model)
        self._flattened = flattened_by_containers(model)
        # Until the first pass is scored, its graph tells the order of the layers.
        self._graph = CallGraph() if layers in ("last", "all") else None
        for tap in self._taps.values():
            tap.graph, tap.only_last = self._graph, layers == "last"
        scored = [weight for layer in self._layers.values() for weight in weights_of(layer)]
        self._start = PassStart(scored, list(self._taps.values()), self._graph)
        # torch.compile looks for hooks only when it compiles, so they stay and do nothing outside the `with`.
        hooks = [
            layer.register_forward_hook(self._taps[name], with_kwargs=True)
            for name, layer in self._layers.items()
        ]
        hooks.append(network.register_forward_pre_hook(self._start, with_kwargs=True))
        if self._graph is not None:
            hooks.append(network.register_forward_hook(self._graph))
        weakref.finalize(self, _remove, hooks, self._graph)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the scored layers; before the first scores, "last" is the last one registered."""
        names = tuple(self._layers)
        return names[-1:] if self._choice == "last" and self._graph is not None else names

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
            UsageError: coefficients does not have the shape of the batch, a layer has no gradient, or its
                rows are flattened in an unknown order.
        """
        if coefficients.dim() != 1 or len(coefficients) == 0:
            raise UsageError(
                f"coefficients has shape {list(coefficients.shape)}; give one number per example, shape [B]"
            )
        self._require_gradients()
        self._order_layers()
        batch = len(coefficients)
        steps = {input_time_steps(shapes, batch, self.time_steps) for shapes in self._start.calls}
        input_steps = steps.pop() if len(steps) == 1 else None
        self._time_first |= input_steps is not None
        used = {name: self._layers[name] for name, tap in self._taps.items() if tap.calls}
        if self.exact:
            total = self._exact_norms(used, batch, input_steps)
        else:
            total = _stack([self._bound(name, batch, input_steps) for name in used]).sum(dim=0)

        scale = coefficients.detach().to(total.device, torch.float32).abs()
        scored = scale != 0
        if grad_scaler is not None and grad_scaler.is_enabled():
            scale = grad_scaler.scale(scale)
            scored &= total.isfinite()
        for hook in self._hooks:
            hook.clear()
        return torch.where(scored, total / scale, torch.nan).float()

    @property
    def _hooks(self) -> tuple[PassStart | CallGraph | Tap, ...]:
        graph = () if self._graph is None else (self._graph,)
        return (self._start, *graph, *self._taps.values())

    def _tap(self, name: str, layer: nn.Module) -> Tap:
        kind = kind_of(layer)
        assert kind is not None
        if self.exact and kind.exact_norms is not None:
            return Tap(kind.exact_inputs, name=name)
        return Tap(kind.input_norms, lambda layer, δ: row_norms(δ, kind.features), name)

    def _order_layers(self) -> None:
        """After the first pass, choose the last layers, and warn of weights that are not scored."""
        graph = self._graph
        if graph is None:
            return
        if self._choice == "last":
            last = graph.last()
            chosen = {name: self._layers[name] for name in last}
            if self.exact:
                check_exact(chosen)
            unscored = graph.weights_after_the_last()
            self._layers, self._taps = chosen, {name: self._taps[name] for name in last}
        else:
            idle = [layer for name, layer in self._layers.items() if not self._taps[name].calls]
            unscored = graph.weights_between() | {weight for layer in idle for weight in weights_of(layer)}
        names = [name for weight, name in named_weights(self._network).items() if weight in unscored]
        if names:
            warnings.warn(
                f"SpikeAwareScorer(layers={self._choice!r}) does not score {', '.join(names)}: no call of a "
                "Linear, Conv or Embedding layer used them for the loss; give layers=[...] to choose layers",
                stacklevel=4,
            )
        graph.stop()
        graph.clear()
        for tap in self._start.forget_graph():
            if self._taps.get(tap.name) is not tap:
                tap.stop()
                tap.clear()
        self._graph = None

    def _arranged(self, name: str, batch: int, input_steps: int | None) -> list[tuple[Tensor, Tensor, Call]]:
        """Return inputs and errors of a layer's calls as [T, B, N, ...], with the calls."""
        layer = self._layers[name]
        kind = kind_of(layer)
        assert kind is not None
        arranged = []
        for call in self._taps[name].calls:
            rows = tuple(call.output_shape[: -kind.features])
            layout = find_layout(
                rows,
                batch,
                layer=name,
                step_mode=getattr(layer, "step_mode", None),
                time_steps=self.time_steps,
                input_steps=input_steps,
                outermost=self.layout,
                flattened_time_first=self._time_first or layer in self._flattened,
            )
            arranged.append((layout.apply(call.input, len(rows)), layout.apply(call.error, len(rows)), call))
        return arranged

    def _bound(self, name: str, batch: int, input_steps: int | None) -> Tensor:
        """Return c_i times one layer's part of G_i, over all its calls, (B,)."""
        layer, norm = self._layers[name], torch.linalg.vector_norm
        products = []
        for o, δ, call in self._arranged(name, batch, input_steps):
            input_norms = norm(o, dim=2)
            if self.bias and biases_of(layer):
                share = bias_share(layer, call.output_shape)
                input_norms = (input_norms.square() + o.shape[2] * share).sqrt()
            products.append(norm(δ, dim=2) * input_norms)
        return torch.cat(products).sum(dim=0)

    def _exact_norms(self, layers: dict[str, nn.Module], batch: int, input_steps: int | None) -> Tensor:
        """Return c_i times the norm of the gradient of all weights and biases, (B,)."""
        inputs, errors = {}, {}
        for name in layers:
            arranged = self._arranged(name, batch, input_steps)
            inputs[name] = _by_example([o for o, _, _ in arranged])
            errors[name] = _by_example([δ for _, δ, _ in arranged])
        norms = []
        for names in _shared(layers, weights_of):
            kinds = {kind_of(layers[name]) for name in names}
            if len(kinds) > 1:
                raise UsageError(
                    f"exact=True: {' and '.join(names)} share a weight and are of different types; give "
                    "layers=[...] with one of them, or leave exact out"
                )
            (kind,) = kinds
            assert kind is not None and kind.exact_norms is not None
            δ, o = (torch.cat([rows[name] for name in names], dim=1) for rows in (errors, inputs))
            with torch.autocast(δ.device.type, enabled=False):
                norms.append(kind.exact_norms(δ, o))
        for names in _shared(layers, biases_of) if self.bias else ():
            norms.append(row_norms(torch.cat([errors[name] for name in names], dim=1).float().sum(dim=1), 1))
        norm: Tensor = torch.linalg.vector_norm(_stack(norms), dim=0)
        return norm

    def _require_gradients(self) -> None:
        without = [name for name, tap in self._taps.items() if not tap.calls]
        if len(without) == len(self._taps):
            raise UsageError(
                "the scored layers have no gradient; run a forward and its backward inside `with scorer:` "
                "before each scores(), and with torch.compile create the scorer before the model's first call"
            )
        if without and self._graph is None and self._choice != "all":
            raise UsageError(
                f"layer {without[0]!r} has no gradient; give layers=[...] with layers that the network uses"
            )


def _stack(norms: list[Tensor]) -> Tensor:
    return torch.stack([norm.to(norms[0].device) for norm in norms])


def _shared(
    layers: dict[str, nn.Module], tensors_of: Callable[[nn.Module], tuple[Tensor, ...]]
) -> Iterable[list[str]]:
    """Return the names of layers that have any of these tensors, together if they have the same."""
    groups: dict[tuple[Tensor, ...], list[str]] = {}
    for name, layer in layers.items():
        if tensors := tensors_of(layer):
            groups.setdefault(tensors, []).append(name)
    return groups.values()


def _by_example(calls: list[Tensor]) -> Tensor:
    """Join calls of shape [T, B, N, ...] along the rows of each example, [B, T * N, ...]."""
    return torch.cat([call.transpose(0, 1).flatten(1, 2) for call in calls], dim=1)


def _remove(hooks: list[RemovableHandle], graph: CallGraph | None) -> None:
    for hook in hooks:
        hook.remove()
    if graph is not None:
        graph.clear()
