"""The learning rules that ship: each file registers its own."""

from sadp_dist.snn.learning import bptt, decolle, ell, eprop, ottt, sltt, tbptt  # noqa: F401
from sadp_dist.snn.learning.registry import LEARNING_RULES, build_learning_rule, register_learning_rule
from sadp_dist.snn.learning.rule import LearningRule, Passes, Setting

__all__ = [
    "LEARNING_RULES",
    "LearningRule",
    "Passes",
    "Setting",
    "build_learning_rule",
    "register_learning_rule",
]
