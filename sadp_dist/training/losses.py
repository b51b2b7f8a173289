"""Per-example losses of a spiking network's logits over time."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sadp_dist.training.config import OptimizationConfig


class PerExampleLoss(Protocol):
    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(T, B, classes) logits and (B,) int64 labels to (B,) float32 losses."""


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross entropy of the logits averaged over time."""
    return F.cross_entropy(logits.float().mean(0), labels, label_smoothing=label_smoothing, reduction="none")


def tet(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, lamb: float = 0.05, phi: float = 1.0
) -> Tensor:
    """Temporal efficient training: the loss of each time step, averaged, and a pull of the logits towards φ.

    (1 - λ) (1/T) Σ_t CE(logits[t], y) + λ (1/T) Σ_t MSE(logits[t], φ) (Deng et al., ICLR 2022).
    """
    time_steps, batch, classes = logits.shape
    logits = logits.float()
    each = F.cross_entropy(
        logits.reshape(-1, classes),
        labels.repeat(time_steps),
        label_smoothing=label_smoothing,
        reduction="none",
    )
    ce = each.view(time_steps, batch).mean(0)
    mse = (logits - phi).square().mean((0, 2))
    return (1 - lamb) * ce + lamb * mse


def build_loss(config: OptimizationConfig) -> PerExampleLoss:
    if config.loss == "tet":
        return partial(tet, label_smoothing=config.label_smoothing, lamb=config.tet_lambda)
    return partial(cross_entropy, label_smoothing=config.label_smoothing)


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """(T, B, classes) logits and (B,) labels to (B,) bool: does the mean over time name the right class?"""
    return torch.eq(logits.float().mean(0).argmax(1), labels)
