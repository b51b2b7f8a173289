"""What every learning rule is: a way to get the gradients of one micro-batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from sadp_dist.errors import UsageError
from sadp_dist.snn.learning.config import LEARNING_RULES, LearningConfig
from sadp_dist.snn.models.network import SpikingNetwork


@dataclass(frozen=True)
class LearningContext:
    """What a learning rule is built for.

    Attributes:
        network: whose weights learn.
        example: one input of the network, [1, C, H, W], [T, 1, C, H, W] or [T, 1, F], of any values.
        time_steps: T.
        num_classes: K.
        decay: λ of the neurons (Eq. 1), by which traces of spikes decay; None: they have none.
        seed: of what a rule draws at random.
    """

    network: SpikingNetwork
    example: Tensor
    time_steps: int
    num_classes: int
    decay: float | None
    seed: int

    def trace_decay(self) -> float:
        """Return `decay`, for a rule with traces of spikes.

        Raises:
            UsageError: the neurons have no decay.
        """
        if self.decay is None:
            raise UsageError("this learning.rule needs neurons with a decay; use network.neuron.kind=lif")
        return self.decay


@dataclass(frozen=True)
class Passes:
    """What training lends a rule for its passes.

    Attributes:
        forward: the network, [B, ...] or [T, B, ...] to logits [T, B, K]; under DDP and torch.compile too.
        loss: logits [t, B, K] and labels (B,) to losses (B,), the mean over these t time steps.
        backward: back-propagates a scalar, times the scale of mixed precision.
        autocast: the precision of forward passes.
    """

    forward: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    backward: Callable[[Tensor], None]
    autocast: Callable[[], AbstractContextManager[object]]


class LearningRule(nn.Module, ABC):
    """Adds the gradients of a micro-batch to the ``grad`` of the parameters.

    What a rule has itself, such as local classifiers, are its parameters and buffers: parameters that need
    gradients learn with the network's, and both are kept in checkpoints. The network is not among them.

    Args:
        config: the ``learning:`` section.
        context: what it is built for.

    Raises:
        UsageError: the rule and the network do not go together.
    """

    step_by_step: ClassVar[bool] = False
    """Whether losses have to be known at each time step, and not of a whole sequence alone."""

    whole: ClassVar[bool] = False
    """Whether a micro-batch is one forward pass of the network as DDP and torch.compile wrap it, and its
    backward pass."""

    def __init__(self, config: LearningConfig, context: LearningContext) -> None:
        super().__init__()
        self.config, self.context = config, context

    @property
    def network(self) -> SpikingNetwork:
        return self.context.network

    @property
    def chunk(self) -> int:
        """Time steps that layers see in one call."""
        return self.context.time_steps

    @abstractmethod
    def learn(
        self, inputs: Tensor, labels: Tensor, coefficients: Tensor, passes: Passes, key: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Forward and backward of a micro-batch: the gradients of Σ c_i ℓ_i, as the rule has them.

        Args:
            inputs: images [B, C, H, W], frames [T, B, C, H, W] or features [T, B, F].
            labels: (B,) int64.
            coefficients: (B,) c_i.
            passes: loss, precision and so on.
            key: epoch and number of the micro-batch, of what is drawn at random.

        Returns:
            logits [T, B, K] and the losses (B,) of the network's output, without a graph.
        """


def build_learning_rule(config: LearningConfig, context: LearningContext) -> LearningRule:
    """Return the rule that a configuration names, on the device of the example.

    Raises:
        UsageError: the rule and the network do not go together.
    """
    return LEARNING_RULES[config.rule](config, context).to(context.example.device)
