"""Learning rules: compute gradients through time, step by step or layer by layer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sadp_dist.snn.learning.config import LEARNING_RULES, LearningConfig, register_learning_rule

if TYPE_CHECKING:
    from sadp_dist.snn.learning.rule import LearningContext, LearningRule, Passes, build_learning_rule

__all__ = [
    "LEARNING_RULES",
    "LearningConfig",
    "LearningContext",
    "LearningRule",
    "Passes",
    "build_learning_rule",
    "register_learning_rule",
]


def __getattr__(name: str) -> Any:
    if name in __all__:  # these need torch, which a configuration should not import
        return getattr(import_module("sadp_dist.snn.learning.rule"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
