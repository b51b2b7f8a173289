"""Optimizers, and a learning rate schedule in epochs instead of steps."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from sadp_dist.training.config import OptimizationConfig


def build_optimizer(parameters: list[nn.Parameter], config: OptimizationConfig) -> Optimizer:
    # Fused kernels handle the AMP scale and its overflow check; the others synchronise with the device.
    fused = all(p.is_cuda for p in parameters)
    if config.optimizer == "adamw":
        return AdamW(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused or None
        )
    return SGD(
        parameters,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=fused or None,
    )


def cosine_rate(config: OptimizationConfig, epochs_done: float, epochs: int | None = None) -> float:
    """Return the learning rate after so many epochs: linear warm-up, then half a cosine to 0.

    The current epoch counts by the fraction of its batches that are done. With pruning, epochs have different
    lengths; a schedule in epochs still reaches 0 exactly at the end of the run.

    Args:
        config: has the highest rate and the warm-up.
        epochs_done: since the weights were initialised.
        epochs: after which the rate is 0; by default those of the configuration.
    """
    epochs = config.epochs if epochs is None else epochs
    warmup = config.warmup_epochs
    if epochs_done < warmup:
        return config.learning_rate * epochs_done / warmup
    if epochs <= warmup:
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (epochs_done - warmup) / (epochs - warmup)))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
