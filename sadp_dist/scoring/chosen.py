"""Which layers are scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize

from sadp_dist.choices import did_you_mean
from sadp_dist.errors import UsageError
from sadp_dist.scoring.layers import GRADIENT_NORMS, ROW_NORMS

# What torch.compile and activation checkpointing put between a module and the name it was given.
_WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module"}


def choose_layers(model: nn.Module, layers: str | Sequence[str], exact: bool) -> dict[str, nn.Module]:
    """The layers to score by name, in the order of registration for "last" and "all".

    Raises:
        UsageError: an unknown name, a frozen layer, a module without a score of this kind, or no layer.
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
            raise UsageError(f"layers: {name!r} is of type {kind}; name Linear or Conv layers")
        if name not in trainable:
            raise UsageError(
                f"layers: {name!r} is frozen; name trainable layers, or let its weight require a gradient"
            )
        if exact and modules[name] not in GRADIENT_NORMS:
            raise UsageError(
                f"exact=True is for Linear layers, and {name!r} is of type {kind}; give Linear layers' names"
            )
    return {name: modules[name] for name in names}


def _is_trainable(layer: nn.Module) -> bool:
    if parametrize.is_parametrized(layer, "weight"):  # the weight is computed, from what is trained
        weight = layer.parametrizations.weight.original  # type: ignore[union-attr]
    else:
        weight = layer.weight
    return isinstance(weight, Tensor) and weight.requires_grad


def unwrapped(model: nn.Module) -> nn.Module:
    """The network without DDP and torch.compile around it."""
    wrapped: object = model
    while isinstance(wrapped, nn.Module):
        model = wrapped
        parallel = isinstance(model, DistributedDataParallel)
        wrapped = model.module if parallel else getattr(model, "_orig_mod", None)
    return model


def _named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """All modules, by the names they have without DDP, torch.compile and checkpointing around them."""
    for name, module in unwrapped(model).named_modules():
        yield ".".join(part for part in name.split(".") if part not in _WRAPPERS), module
