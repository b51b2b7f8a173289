"""The base class of learning rules, which compute the gradients of a micro-batch."""

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
    """The network and data that a rule is built for.

    Attributes:
        network: to train.
        example: an input of the network, [1, C, H, W], [T, 1, C, H, W] or [T, 1, F], with any values.
        time_steps: T of the run. Epochs of a curriculum may have fewer: T of a pass over images is
            `network.time_steps`.
        num_classes: K.
        decay: λ of the neurons (Eq. 1) and of traces of spikes; None if the neurons have none.
        seed: of random numbers in a rule.
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
    """The functions with which a rule runs its forward and backward passes.

    Attributes:
        forward: computes logits [T, B, K] from [B, ...] or [T, B, ...], with DDP and torch.compile.
        loss: computes losses (B,), the mean over t time steps, from logits [t, B, K] and labels (B,).
        backward: back-propagates a scalar, times the AMP scale.
        autocast: context of the forward passes' precision.
    """

    forward: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]
    backward: Callable[[Tensor], None]
    autocast: Callable[[], AbstractContextManager[object]]


class LearningRule(nn.Module, ABC):
    """Adds the gradients of a micro-batch to the ``grad`` of the parameters.

    A rule's own tensors, such as local classifiers, are its parameters and buffers. Parameters that require
    gradients are trained with the network's. Checkpoints contain them all. The network is not part of the
    rule.

    Args:
        config: the ``learning:`` section.
        context: the network and data that it is built for.

    Raises:
        UsageError: the rule does not support the network.
    """

    step_by_step: ClassVar[bool] = False
    """Whether the rule needs the loss of each time step, not only of the whole sequence."""

    whole: ClassVar[bool] = False
    """Whether the rule runs a micro-batch as one forward and one backward pass of the network
    wrapped by DDP and torch.compile."""

    def __init__(self, config: LearningConfig, context: LearningContext) -> None:
        super().__init__()
        self.config, self.context = config, context

    @property
    def network(self) -> SpikingNetwork:
        return self.context.network

    @property
    def chunk(self) -> int:
        """Number of time steps per call of the layers."""
        return self.network.time_steps

    def check_time_steps(self, time_steps: int) -> None:
        """Refuse a number of time steps, below that of the run, that the rule does not support.

        Raises:
            UsageError: naming the option that it does not go with.
        """

    @abstractmethod
    def learn(
        self, inputs: Tensor, labels: Tensor, coefficients: Tensor, passes: Passes, key: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Run forward and backward of a micro-batch, and add the rule's gradients of Σ c_i ℓ_i.

        Args:
            inputs: images [B, C, H, W], frames [T, B, C, H, W] or features [T, B, F].
            labels: (B,) int64.
            coefficients: (B,) c_i.
            passes: the functions to run forward and backward.
            key: epoch and number of the micro-batch, for random numbers.

        Returns:
            Logits [T, B, K] and losses (B,) of the network's output, without a graph.
        """


def build_learning_rule(config: LearningConfig, context: LearningContext) -> LearningRule:
    """Return the rule that a configuration names, on the device of the example.

    Raises:
        UsageError: the rule does not support the network.
    """
    return LEARNING_RULES[config.rule](config, context).to(context.example.device)
