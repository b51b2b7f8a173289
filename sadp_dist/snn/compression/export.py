"""A network in a file, its weights as whole numbers of few bits, and back.

The file is NumPy's .npz, compressed, so that weights which are 0 and levels of less than 8 bits take less. It
holds `network`, the arguments of `build_network` as JSON, and by the network's own names

    NAME          uint8 levels of a linear or convolutional weight
    NAME:scale    float32, one for each output
    NAME:zero     float32, the level that stands for 0: weight = (level - zero) * scale

and everything else (biases, norms, their running statistics) as it is, float32.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sadp_dist.errors import UsageError
from sadp_dist.snn.compression.quantisation import OUTER_BITS, Levels, quantised, symmetric
from sadp_dist.snn.layers import PARAMETRIZED, weight_parameter, weighted_layers
from sadp_dist.snn.models import SpikingNetwork, build_network
from sadp_dist.snn.neurons import NeuronConfig

ARCHITECTURE = "network"


def export_network(network: nn.Module, file: Path, architecture: Mapping[str, Any]) -> None:
    """Write a network with quantised weights.

    Those that were trained with quantisation have the levels that they were trained with; others get 8 bits
    here, from -max |w| to max |w| of each output.

    Args:
        network: bare, without DDP or torch.compile around it.
        file: ends in .npz.
        architecture: the arguments with which `build_network` made it; a ``NeuronConfig`` among them.

    Raises:
        UsageError: the file's name ends in something else, or it cannot be written.
    """
    arrays = _float_arrays(network)
    for name, layer in weighted_layers(network).items():
        level, scale, zero = _levels(layer)
        arrays |= {
            f"{name}.weight": level.cpu().numpy().astype(np.uint8),
            f"{name}.weight:scale": scale.cpu().numpy(),
            f"{name}.weight:zero": np.array(zero, dtype=np.float32),
        }
    _write(file, arrays, architecture, np.savez_compressed)


def export_unquantised(network: nn.Module, file: Path, architecture: Mapping[str, Any]) -> None:
    """Write a network with float32 weights, 4 bytes each, to compare the other file's size with.

    The arguments are those of `export_network`. Nothing is compressed here: quantised weights that are
    written as float32 would shrink, and pruned ones, and neither is what such a network takes as it is.
    """
    _write(file, _float_arrays(network), architecture, np.savez)


def import_network(file: Path) -> SpikingNetwork:
    """The network in a file, on the CPU, with the weights that the whole numbers stand for.

    Raises:
        UsageError: the file is none that `export_network` wrote.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        architecture = json.loads(str(arrays.pop(ARCHITECTURE)))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{file} is no exported network ({reason}); write one with sadp-dist export"
        ) from None
    architecture["neuron"] = NeuronConfig(**architecture["neuron"])
    network = build_network(**architecture)
    state = {}
    for name, array in arrays.items():
        if name.endswith((":scale", ":zero")):
            continue
        if f"{name}:scale" in arrays:
            level = torch.from_numpy(array.astype(np.float32))
            scale = torch.from_numpy(arrays[f"{name}:scale"])
            state[name] = Levels(level, scale, float(arrays[f"{name}:zero"])).weight()
        else:
            state[name] = torch.from_numpy(array)
    network.load_state_dict(state)
    return network


@torch.no_grad()
def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """The network's state by the names that it has without quantisation, its weights as they compute."""
    state = dict(network.state_dict())
    for name, layer in weighted_layers(network).items():
        state.pop(f"{name}{PARAMETRIZED}", None)
        state[f"{name}.weight"] = layer.weight.detach()  # type: ignore[operator,union-attr,assignment]
    return state


def _float_arrays(network: nn.Module) -> dict[str, NDArray[Any]]:
    return {name: tensor.cpu().numpy() for name, tensor in plain_state(network).items()}


@torch.no_grad()
def _levels(layer: nn.Module) -> Levels:
    trained = quantised(layer)
    weight = weight_parameter(layer).detach()
    return symmetric(weight, OUTER_BITS) if trained is None else trained.levels(weight, trained.bits)


def _write(
    file: Path,
    arrays: Mapping[str, NDArray[Any]],
    architecture: Mapping[str, Any],
    save: Callable[..., None],
) -> None:
    if file.suffix != ".npz":
        raise UsageError(f"{file} must end in .npz, the kind of file that a network is exported to")
    described = {**architecture, "neuron": architecture["neuron"].to_dict()}
    try:
        with file.open("wb") as opened:
            content: dict[str, Any] = {ARCHITECTURE: np.array(json.dumps(described)), **arrays}
            save(opened, **content)
    except OSError as error:
        raise UsageError(f"{file} cannot be written ({error.strerror}); choose another") from None
