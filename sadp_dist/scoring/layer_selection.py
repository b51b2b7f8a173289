"""Selects the layers to score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize

from sadp_dist.choices import did_you_mean
from sadp_dist.errors import UsageError
from sadp_dist.scoring.layers import GRADIENT_NORMS, ROW_NORMS

# Parts that torch.compile and activation checkpointing insert into the names of modules.
_WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module"}


def choose_layers(model: nn.Module, layers: str | Sequence[str], exact: bool) -> dict[str, nn.Module]:
    """Return the layers to score by name; "last" and "all" follow the order of registration.

    Raises:
        UsageError: a name is unknown, a layer is frozen or has no score of this kind, or there is no layer.
    """
    modules = dict(_named_modules(model))
    trainable = {
        name: module for name, module in modules.items() if module in ROW_NORMS and _is_trainable(module)
    }
    if layers in ("last", "all"):
        if not trainable:
            raise UsageError(f"layers={layers!r}: the model has no trainable Linear or Conv layer to score")
        names = list(trainable)[-1:] if layers == "last" else list(trainable)
    else:
        names = [layers] if isinstance(layers, str) else list(layers)
        if not names:
            raise UsageError('layers is empty; give "last", "all" or a list of module names')
    for name in names:
        if name not in modules:
            known = ["last", "all", *trainable]
            raise UsageError(
                f'layers: there is no module {name!r}; use "last", "all" or names of Linear or Conv layers, '
                f'such as "{known[-1]}"{did_you_mean(name, known)}'
            )
        kind = type(modules[name]).__name__
        if modules[name] not in ROW_NORMS:
            raise UsageError(f"layers: {name!r} has type {kind}; give names of Linear or Conv layers")
        if name not in trainable:
            raise UsageError(
                f"layers: {name!r} is frozen; give names of trainable layers, or unfreeze its weight"
            )
        if exact and modules[name] not in GRADIENT_NORMS:
            raise UsageError(
                f"exact=True needs Linear layers, but {name!r} has type {kind}; give names of Linear layers"
            )
    return {name: modules[name] for name in names}


def _is_trainable(layer: nn.Module) -> bool:
    if parametrize.is_parametrized(layer, "weight"):  # the weight is computed from a trained tensor
        weight = layer.parametrizations.weight.original  # type: ignore[union-attr]
    else:
        weight = layer.weight
    return isinstance(weight, Tensor) and weight.requires_grad


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the network without the wrappers of DDP and torch.compile."""
    wrapped: object = model
    while isinstance(wrapped, nn.Module):
        model = wrapped
        parallel = isinstance(model, DistributedDataParallel)
        wrapped = model.module if parallel else getattr(model, "_orig_mod", None)
    return model


def _named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield all modules with their names, without the parts that wrappers insert."""
    for name, module in unwrapped(model).named_modules():
        yield ".".join(part for part in name.split(".") if part not in _WRAPPERS), module
