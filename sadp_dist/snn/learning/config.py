"""The ``learning:`` section of a configuration; torch is not needed to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sadp_dist.errors import UsageError


@dataclass(frozen=True)
class LearningConfig:
    """By which rule a network learns.

    Attributes:
        rule: one of `sadp_dist.snn.LEARNING_RULES`: "bptt", "tbptt", "sltt", "ottt", "eprop", "decolle" or
            "ell", or one that was registered.
        steps: with "tbptt", the time steps between two cuts; they divide T.
        backward_steps: with "sltt", K of SLTT-K: of each batch's T time steps so many, drawn at random, have
            a backward pass. None: all of them.
        feedback: with "eprop", what takes the output's errors to hidden layers: the "symmetric" weights that
            spikes went up by, or fixed "random" ones. None: "symmetric".

    Raises:
        UsageError: a number below 1, or a key of another rule.
    """

    rule: str = "bptt"
    steps: int | None = None
    backward_steps: int | None = None
    feedback: Literal["symmetric", "random"] | None = None

    def __post_init__(self) -> None:
        for key, rule in (("steps", "tbptt"), ("backward_steps", "sltt"), ("feedback", "eprop")):
            value = getattr(self, key)
            if value is None:
                continue
            if self.rule != rule:
                raise UsageError(f"{key}={value} goes with rule={rule}, and the rule is {self.rule}")
            if isinstance(value, int) and value < 1:
                raise UsageError(f"{key}={value} must be at least 1")
        if self.rule == "tbptt" and self.steps is None:
            raise UsageError("rule=tbptt needs steps, the number of time steps between two cuts")
