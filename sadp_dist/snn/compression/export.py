"""Writes a network to a file with quantised weights, and reads it.

The file is a compressed .npz of NumPy, so weights that are 0 and levels with less than 8 bits take less
space. It has the entry `network`, the arguments of `build_network` as JSON. For each linear or convolutional
weight with the name NAME it has

    NAME          uint8, the quantisation levels
    NAME:scale    float32, one for each output
    NAME:zero     float32, the level of 0: weight = (level - zero) * scale

All other tensors (biases, norms and their running statistics) are float32.
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

    Weights that were trained with quantisation keep their levels. Others are quantised to 8 bits, from -max
    |w| to max |w| of each output.

    Args:
        network: the network itself, not wrapped by DDP or torch.compile.
        file: its name ends in .npz.
        architecture: the arguments of `build_network` for this network; "neuron" is a ``NeuronConfig``.

    Raises:
        UsageError: the name of the file does not end in .npz, or the file cannot be written.
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
    """Write a network with float32 weights, to compare the sizes of the files.

    The arguments are those of `export_network`. The file is not compressed, because compression
    would shrink quantised and pruned weights and hide what the export saves.
    """
    _write(file, _float_arrays(network), architecture, np.savez)


def import_network(file: Path) -> SpikingNetwork:
    """Read a network from a file of `export_network`, on the CPU, with float32 weights.

    Raises:
        UsageError: the file was not written by `export_network`.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        architecture = json.loads(str(arrays.pop(ARCHITECTURE)))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{file} is not an exported network ({reason}); write one with sadp-dist export"
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
    """Return the network's state with the names that it has without quantisation, and its actual weights."""
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
        raise UsageError(f"{file} must end in .npz, the format of exported networks")
    described = {**architecture, "neuron": architecture["neuron"].to_dict()}
    try:
        with file.open("wb") as opened:
            content: dict[str, Any] = {ARCHITECTURE: np.array(json.dumps(described)), **arrays}
            save(opened, **content)
    except OSError as error:
        raise UsageError(f"{file} cannot be written ({error.strerror}); choose another file") from None
