"""Optimizers, and a learning rate that follows the epoch's progress rather than a count of steps."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from sadp_dist.training.config import OptimizationConfig


def build_optimizer(parameters: list[nn.Parameter], config: OptimizationConfig) -> Optimizer:
    # Fused kernels take the AMP scale and its overflow check along; the others wait for the device to say.
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
    """Learning rate after ``epochs_done`` epochs: linear warm-up, then half a cosine down to 0 at the last.

    The present epoch counts by the fraction of its batches that is done. With pruning, epochs differ in
    length; counted in epochs the rate still falls to 0 exactly over the run, and every epoch gets its share
    of the curve.

    Args:
        config: of these the highest rate and the warm-up.
        epochs_done: since the weights began.
        epochs: after which the rate is 0; by default all of the configuration.
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
