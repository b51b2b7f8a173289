"""Learning rules: how a spiking network gets its gradients, through time, step by step or layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sadp_dist.snn.learning.config import LearningConfig

if TYPE_CHECKING:
    from sadp_dist.snn.learning.rules import (
        LEARNING_RULES,
        LearningRule,
        Passes,
        Setting,
        build_learning_rule,
        register_learning_rule,
    )

__all__ = [
    "LEARNING_RULES",
    "LearningConfig",
    "LearningRule",
    "Passes",
    "Setting",
    "build_learning_rule",
    "register_learning_rule",
]


def __getattr__(name: str) -> Any:
    # Rules need torch, which a configuration (it needs LearningConfig alone) should not wait for.
    if name in __all__:
        from sadp_dist.snn.learning import rules

        return getattr(rules, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
