"""Sums over batches that stay on the device."""

from __future__ import annotations

import torch
from torch import Tensor


class DeviceSums:
    """Sums of loss, hits and examples on the device, which the host reads without synchronising.

    ``recent()`` returns the newest values that have reached the host. On CUDA, it starts a copy to pinned
    memory and returns the previous copy, so that the device never waits for a progress bar.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.total = torch.zeros(size, dtype=torch.float64, device=device)
        self._cuda = device.type == "cuda"
        self._host = torch.zeros(size, dtype=torch.float64, pin_memory=self._cuda)
        self._copied = torch.cuda.Event() if self._cuda else None
        self._values = [0.0] * size

    def add(self, *values: Tensor) -> None:
        self.total += torch.stack([value.to(self.total.dtype) for value in values])

    def recent(self) -> list[float]:
        if self._copied is None:
            return [float(value) for value in self.total]
        if self._copied.query():
            self._values = self._host.tolist()
            self._host.copy_(self.total, non_blocking=True)
            self._copied.record()
        return self._values
