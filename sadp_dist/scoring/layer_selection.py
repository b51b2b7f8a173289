"""Selects the layers to score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sadp_dist.choices import did_you_mean
from sadp_dist.errors import UsageError
from sadp_dist.scoring.layers import kind_of

# Parts that torch.compile and activation checkpointing insert into the names of modules.
_WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module"}


def choose_layers(model: nn.Module, layers: str | Sequence[str], exact: bool) -> dict[str, nn.Module]:
    """Return the layers to score by name, in the order of registration; with "last", all that may be last.

    Raises:
        UsageError: a name is unknown, a layer is frozen or has no score of this kind, or there is no layer.
    """
    modules = dict(_named_modules(model))
    trainable = {name: module for name, module in modules.items() if kind_of(module) and weights_of(module)}
    if layers in ("last", "all"):
        if not trainable:
            raise UsageError(
                f"layers={layers!r}: the model has no trainable Linear, Conv or Embedding layer to score"
            )
        names = list(trainable)
    else:
        names = [layers] if isinstance(layers, str) else list(layers)
        if not names:
            raise UsageError('layers is empty; give "last", "all" or a list of module names')
    for name in names:
        if name not in modules:
            known = ["last", "all", *trainable]
            raise UsageError(
                f'layers: there is no module {name!r}; use "last", "all" or names of Linear, Conv or '
                f'Embedding layers, such as "{known[-1]}"{did_you_mean(name, known)}'
            )
        kind = type(modules[name]).__name__
        if not kind_of(modules[name]):
            raise UsageError(
                f"layers: {name!r} has type {kind}; give names of Linear, Conv or Embedding layers"
            )
        if name not in trainable:
            raise UsageError(
                f"layers: {name!r} is frozen; give names of trainable layers, or unfreeze its weight"
            )
    chosen = {name: modules[name] for name in names}
    if exact and (layers != "last" or not any(has_exact_norm(layer) for layer in chosen.values())):
        check_exact(chosen)
    return chosen


def check_exact(layers: dict[str, nn.Module]) -> None:
    """Raise UsageError if a layer has no exact norm."""
    for name, layer in layers.items():
        if not has_exact_norm(layer):
            raise UsageError(
                f"exact=True needs Linear or Embedding layers, but {name!r} has type {type(layer).__name__}; "
                "give names of Linear or Embedding layers"
            )


def has_exact_norm(layer: nn.Module) -> bool:
    """Return whether exact=True can score a layer."""
    kind = kind_of(layer)
    return kind is not None and kind.exact_norms is not None


def weights_of(layer: nn.Module) -> tuple[Tensor, ...]:
    """Return the trainable tensors that a layer's weight consists of: several with weight normalisation."""
    return _trainable(layer, "weight")


def biases_of(layer: nn.Module) -> tuple[Tensor, ...]:
    """Return the trainable tensors that a layer's bias consists of; none if it has no trainable bias."""
    return _trainable(layer, "bias")


def _trainable(layer: nn.Module, part: str) -> tuple[Tensor, ...]:
    return tuple(
        parameter
        for name, parameter in layer.named_parameters(remove_duplicate=False)
        # torch's old normalisations name them weight_g, weight_orig, ...
        if name.removeprefix("parametrizations.").split(".")[0].split("_")[0] == part
        and parameter.requires_grad
    )


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network without the wrappers of DDP and torch.compile."""
    wrapped: object = model
    while isinstance(wrapped, nn.Module):
        model = wrapped
        parallel = isinstance(model, DistributedDataParallel)
        wrapped = model.module if parallel else getattr(model, "_orig_mod", None)
    return model


def named_weights(model: nn.Module) -> dict[Tensor, str]:
    """Return the names of a network's trainable weights, without vectors, such as biases and scales."""
    return {
        parameter: _plain(name)
        for name, parameter in unwrapped(model).named_parameters()
        if parameter.requires_grad and parameter.dim() > 1
    }


def _named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield all modules with their names, without the parts that wrappers insert."""
    for name, module in unwrapped(model).named_modules():
        yield _plain(name), module


def _plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)
