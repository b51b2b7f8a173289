"""The ``learning:`` section of a configuration, and the registry of learning rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sadp_dist.registry import Registry
from sadp_dist.sections import Section

if TYPE_CHECKING:
    from sadp_dist.snn.learning.rule import LearningRule

LEARNING_RULES: Registry[type[LearningRule]] = Registry(
    "learning rule",
    {
        "bptt": "sadp_dist.snn.learning.bptt",
        "tbptt": "sadp_dist.snn.learning.tbptt:TBPTTConfig",
        "sltt": "sadp_dist.snn.learning.sltt:SLTTConfig",
        "ottt": "sadp_dist.snn.learning.ottt",
        "eprop": "sadp_dist.snn.learning.eprop:EPropConfig",
        "decolle": "sadp_dist.snn.learning.decolle",
        "ell": "sadp_dist.snn.learning.ell",
    },
)
"""Learning rules by name. To add a rule, write a file with one registered subclass of ``LearningRule``."""

register_learning_rule = LEARNING_RULES.register


class LearningConfig(Section):
    """The learning rule of the network.

    Attributes:
        rule: "bptt", "tbptt", "sltt", "ottt", "eprop", "decolle", "ell", or a rule that you registered.
    """

    kinds = LEARNING_RULES
    kind_key = "rule"

    rule: str = "bptt"
