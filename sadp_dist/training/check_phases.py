"""Whether a network and its learning rule can train in every phase of a run; found by trying."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from sadp_dist.errors import UsageError
from sadp_dist.loading.augment import resized
from sadp_dist.snn.learning import LearningRule
from sadp_dist.snn.models.network import SpikingNetwork
from sadp_dist.training.phases import Phases
from sadp_dist.training.sequences import merged


@torch.no_grad()
def check_phases(phases: Phases, rule: LearningRule, example: Tensor) -> None:
    """Refuse phases that the network or the rule does not support; the network sees one example per phase.

    Args:
        phases: of the run.
        rule: with its network.
        example: an input of the network, [1, C, H, W], [T, 1, C, H, W] or [T, 1, F], with any values.

    Raises:
        UsageError: names the key and the reason.
    """
    network = rule.network
    T, training = network.time_steps, network.training
    network.eval()
    try:
        for time_steps in {phase.time_steps for phase in phases.all} - {T}:
            _try_time_steps(time_steps, rule, example)
        network.time_steps = T
        for size in {phase.image_size or example.shape[-1] for phase in phases.all} - {example.shape[-1]}:
            _try_image_size(size, network, example)
    finally:
        network.time_steps = T
        network.train(training)


def _try_time_steps(time_steps: int, rule: LearningRule, example: Tensor) -> None:
    with _refused(f"training.curriculum: time_steps={time_steps}"):
        if example.dim() != 4 and len(example) % time_steps:
            raise UsageError(f"it must divide the {len(example)} steps of a sequence")
        rule.check_time_steps(time_steps)
        rule.network.time_steps = time_steps
        logits = rule.network(example if example.dim() == 4 else merged(example, time_steps))
        if len(logits) != time_steps:
            raise UsageError(f"the network has weights for {len(logits)} time steps")


def _try_image_size(size: int, network: SpikingNetwork, example: Tensor) -> None:
    with _refused(f"training.curriculum: image_size={size}"):
        if example.dim() != 4:
            raise UsageError("it applies to images only, and the data are sequences")
        try:
            network(resized(example, size))
        except (RuntimeError, ValueError) as error:
            own = example.shape[-1]
            raise UsageError(
                f"the network's weights are for images of {own} x {own} ({_line(error)}); a network with "
                "average pooling before its classifier, such as small_cnn_pooled, takes any size"
            ) from None


@contextmanager
def _refused(where: str) -> Iterator[None]:
    """Refuse a value, with the reason that the network or the rule gives."""
    try:
        yield
    except (UsageError, RuntimeError, ValueError) as error:
        raise UsageError(f"{where} is not possible here: {_line(error)}; remove it from its phase") from None


def _line(error: Exception) -> str:
    """Return the first line of an error."""
    return str(error).strip().splitlines()[0]
