"""The base class of compression methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn
from torch.optim import Optimizer

from sadp_dist.snn.compression.config import COMPRESSIONS, CompressionConfig


class Compression(nn.Module, ABC):
    """Makes a network smaller while it trains.

    What it must remember (masks, what was measured) is in buffers, so that its ``state_dict`` in a checkpoint
    is all that a run needs to go on. The network's own tensors are in the network's.

    Args:
        config: of the run.
    """

    def __init__(self, config: CompressionConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def attach(self, network: nn.Module, seed: int) -> None:
        """Take a network on, on its device and before its optimizer is made; once.

        Args:
            network: it is changed in place.
            seed: key of what is drawn; every rank gives the same.

        Raises:
            UsageError: the network has nothing that could be compressed like this.
        """

    def after_step(self, optimizer: Optimizer) -> None:
        """After every step of the optimizer. Does not wait for the device."""

    def after_epoch(
        self, epoch: int, epochs: int, optimizer: Optimizer, reduce: Callable[[Tensor], Tensor]
    ) -> None:
        """After an epoch's last step, on every rank.

        Args:
            epoch: the one just done, counted from 0.
            epochs: of the run.
            optimizer: whose momentum may be looked at.
            reduce: adds a tensor up over all ranks, and returns it.
        """

    @abstractmethod
    def figures(self) -> dict[str, float]:
        """What became of the network, by name."""


def build_compression(config: CompressionConfig) -> Compression | None:
    """Return the method that a configuration names, not attached to a network yet; None for "none"."""
    return None if config.method == "none" else COMPRESSIONS[config.method](config)
