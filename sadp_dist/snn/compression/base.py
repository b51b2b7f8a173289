"""The base class of compression methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn
from torch.optim import Optimizer

from sadp_dist.snn.compression.config import COMPRESSIONS, CompressionConfig


class Compression(nn.Module, ABC):
    """Makes a network smaller during training.

    Masks and measurements are buffers, so a run can resume from the ``state_dict`` in its checkpoint. The
    network's own tensors are not part of it.

    Args:
        config: the ``compression:`` section.
    """

    def __init__(self, config: CompressionConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def attach(self, network: nn.Module, seed: int) -> None:
        """Prepare a network. Call it once, on the network's device and before the optimizer is created.

        Args:
            network: it is changed in place.
            seed: seed of random masks; the same on every rank.

        Raises:
            UsageError: the method does not support the network.
        """

    def after_step(self, optimizer: Optimizer) -> None:
        """Called after every step of the optimizer. It does not wait for the device."""

    def after_epoch(
        self, epoch: int, epochs: int, optimizer: Optimizer, reduce: Callable[[Tensor], Tensor]
    ) -> None:
        """Called on every rank after the last step of an epoch.

        Args:
            epoch: the epoch that has ended, counted from 0.
            epochs: number of epochs of the run.
            optimizer: its state has the momentum.
            reduce: returns the sum of a tensor over all ranks.
        """

    @abstractmethod
    def figures(self) -> dict[str, float]:
        """Return figures of the compressed network by name, for the log of the run."""


def build_compression(config: CompressionConfig) -> Compression | None:
    """Return the configured method, before `attach`; None for "none"."""
    return None if config.method == "none" else COMPRESSIONS[config.method](config)
