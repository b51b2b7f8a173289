"""Print a table of the networks with their sources, sizes and last layers.

python docs/generate/networks.py
"""

from __future__ import annotations

import inspect
import re

import torch

from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.snn import build_network
from sadp_dist.snn.models.registry import INPUTS, NETWORKS

PARTS = (
    # prefix of the name, source, image sizes, and the example's classes, size and channels
    ("small_cnn", "this project", "any", (10, 32, 3)),
    ("spiking_resnet18", "SpikingJelly; He et al. 2016", "any", (10, 32, 3)),
    ("spiking_resnet19", "Zheng et al. 2021", "any", (100, 32, 3)),
    ("sew_resnet", "SpikingJelly; Fang et al. 2021", "any", (1000, 224, 3)),
    ("vgg", "SpikingJelly; Simonyan and Zisserman 2015", "from 32", (10, 32, 3)),
    ("vgg11_ws", "Xiao et al. 2022; Meng et al. 2023", "from 8", (11, 128, 2)),
    ("nf_resnet", "Brock et al. 2021; Meng et al. 2023", "any", (1000, 224, 3)),
    ("t_revsnn_resnet18", "Hu et al. 2024", "any", (1000, 224, 3)),
    ("t_revsnn_small", "after Hu et al. 2024", "any", (10, 32, 3)),
    ("meta_spikeformer", "Yao et al. 2024", "any", (1000, 224, 3)),
    ("spiking_mlp", "after Bittar and Garner 2022", "[T, B, F]", (20, 1, 700)),
    ("recurrent_snn", "after Bittar and Garner 2022", "[T, B, F]", (35, 1, 40)),
)


def markdown() -> str:
    part_of = {name: _part(name) for name in NETWORKS}
    lines = [
        "| name | description | source | image sizes | example: classes, input | parameters | last layer |",
        "| --- | --- | --- | --- | --- | ---: | --- |",
    ]
    for start, source, sizes, (classes, size, channels) in PARTS:
        for name, part in part_of.items():
            if part == start:
                with torch.device("meta"):
                    network = build_network(name, classes, size, channels)
                count = sum(p.numel() for p in network.parameters())
                (last,) = SpikeAwareScorer(network).layers
                taken = f"F = {channels}" if INPUTS[name] == "features" else f"{channels} x {size} x {size}"
                lines.append(
                    f"| `{name}` | {_first_sentence(name)} | {source} | {sizes} | {classes}, {taken} "
                    f"| {count:,} | `{last}` |"
                )
    return "\n".join(lines)


def _part(name: str) -> str:
    """Return the longest matching prefix among PARTS."""
    starts = [start for start, *_ in PARTS if name.startswith(start)]
    if not starts:
        raise LookupError(f"{name} is not among PARTS")
    return max(starts, key=len)


def _first_sentence(name: str) -> str:
    """Return the first sentence of a builder's docstring."""
    text = " ".join((inspect.getdoc(NETWORKS[name]) or "").split("\n\n")[0].split())
    return re.sub(r":func:`build_(\w+)`", r"`\1`", text).removesuffix(".")


if __name__ == "__main__":
    print(markdown())
