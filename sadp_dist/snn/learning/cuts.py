"""Cuts between layers: no gradient passes back through the spikes of a layer of neurons."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based.neuron import BaseNode
from torch import Tensor, nn

from sadp_dist.snn.models.network import SpikingNetwork


class Cuts:
    """Detaches the spikes of each layer of neurons inside a ``with``, and keeps them with their graph.

    The modules between two layers of neurons (a convolution, its norm, a residual sum) belong to the later
    one.

    Args:
        network: to cut between its layers of neurons.
    """

    def __init__(self, network: SpikingNetwork) -> None:
        self.network = network
        self._spikes: list[Tensor] = []
        self._active = False
        for module in network.modules():
            if isinstance(module, BaseNode):
                module.register_forward_hook(self._cut)

    def _cut(self, neurons: nn.Module, args: tuple[Any, ...], spikes: Tensor) -> Tensor | None:
        if not self._active:
            return None
        self._spikes.append(spikes)
        return spikes.detach()

    def take(self) -> list[Tensor]:
        """Return the spikes of each layer of neurons since the last call, in order."""
        spikes, self._spikes = self._spikes, []
        return spikes

    @torch.no_grad()
    def shapes(self, example: Tensor) -> list[tuple[int, ...]]:
        """Return the shape of each layer's spikes for one example and one time step.

        Args:
            example: an image [1, C, H, W], or a sequence [T, 1, ...].
        """
        training = self.network.training
        self.network.eval()
        first = example.unsqueeze(0) if example.dim() == 4 else example[:1]
        with self:
            self.network.reset()
            self.network.body(self.network.stem(first))
            self.network.reset()
            shapes = [tuple(spikes.shape[2:]) for spikes in self.take()]
        self.network.train(training)
        return shapes

    def __enter__(self) -> Cuts:
        self._active = True
        return self

    def __exit__(self, *_: object) -> None:
        self._active = False
        self._spikes = []
