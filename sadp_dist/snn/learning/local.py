"""Local learning: each layer of neurons has its own classifier and no error from later layers."""

from __future__ import annotations

import math
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from sadp_dist.errors import UsageError
from sadp_dist.snn.layers import weighted_layers
from sadp_dist.snn.learning.config import LearningConfig
from sadp_dist.snn.learning.cuts import Cuts
from sadp_dist.snn.learning.rule import LearningContext, Passes
from sadp_dist.snn.learning.stepwise import Chunk, StepwiseRule
from sadp_dist.snn.learning.traces import Traces

SIDE = 4  # maximum width and height of a local classifier's input


class LocalRule(StepwiseRule):
    """Each layer learns from the loss of its local classifier at each time step.

        minimise Σ_l Σ_t ℓ(C^l s^l[t], y) / T,  with s^l detached for the next layer

    The network's own classifier learns in the same way from the spikes of the last layer; its logits are the
    output. Local classifiers C^l are linear. Maps [C, H, W] are averaged to at most 4 x 4 before them.
    """

    trained: ClassVar[bool]
    """Whether local classifiers are trained or stay random."""

    traced: ClassVar[bool]
    """Whether weights learn from traces of spikes or from the spikes of the same time step."""

    def __init__(self, config: LearningConfig, context: LearningContext) -> None:
        super().__init__(config, context)
        self.cuts = Cuts(context.network)
        self.classifiers = nn.ModuleList(
            LocalClassifier(shape, context.num_classes) for shape in self.cuts.shapes(context.example)
        ).requires_grad_(self.trained)
        *hidden, _ = weighted_layers(context.network).values()
        self.traces = Traces(hidden, context.trace_decay()) if self.traced else None
        self.at_work += [self.cuts] if self.traces is None else [self.cuts, self.traces]

    def backward_chunk(self, chunk: Chunk, passes: Passes) -> None:
        total = chunk.losses
        for classifier, spikes in zip(self.classifiers, self.cuts.take(), strict=True):
            with passes.autocast():
                local = classifier(spikes)
            total = total + chunk.share * passes.loss(local, chunk.labels)
        passes.backward((chunk.coefficients * total).sum())


class LocalClassifier(nn.Module):
    """Computes logits [t, B, K] from the spikes [t, B, ...] of one layer.

    Args:
        shape: of the spikes of one example at one time step: (D,), (C, N) tokens or (C, H, W) maps.
        num_classes: K.

    Raises:
        UsageError: the spikes have another shape.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        if len(shape) > 3:
            raise UsageError(
                f"a layer's spikes have shape {list(shape)}, but local classifiers need vectors, tokens or "
                "maps; use a convolutional or dense network, or another learning.rule"
            )
        self.fields = tuple(min(size, SIDE) for size in shape[1:])
        self.linear = nn.Linear(shape[0] * math.prod(self.fields), num_classes)

    def forward(self, spikes: Tensor) -> Tensor:
        flat = spikes.flatten(0, 1)
        if len(self.fields) == 2:
            flat = F.adaptive_avg_pool2d(flat, self.fields)
        elif self.fields:
            flat = F.adaptive_avg_pool1d(flat, self.fields[0])
        logits: Tensor = self.linear(flat.flatten(1))
        return logits.reshape(*spikes.shape[:2], -1)
