"""The names of the learning rules. A new rule is a new file with one registered class."""

from __future__ import annotations

from collections.abc import Callable

from sadp_dist.errors import UsageError
from sadp_dist.snn.learning.config import LearningConfig
from sadp_dist.snn.learning.rule import LearningRule, Setting
from sadp_dist.snn.neurons import check_name

LEARNING_RULES: dict[str, type[LearningRule]] = {}


def register_learning_rule(name: str) -> Callable[[type[LearningRule]], type[LearningRule]]:
    """Decorator: make a rule known to a configuration under `name`."""

    def register(rule: type[LearningRule]) -> type[LearningRule]:
        if name in LEARNING_RULES:
            raise UsageError(
                f'name="{name}" is taken by another rule: choose one not in {", ".join(LEARNING_RULES)}'
            )
        LEARNING_RULES[name] = rule
        return rule

    return register


def build_learning_rule(config: LearningConfig, setting: Setting) -> LearningRule:
    """The rule that a configuration names.

    Raises:
        UsageError: the name is not known, or rule and network do not go together.
    """
    check_name("learning.rule", config.rule, LEARNING_RULES)
    return LEARNING_RULES[config.rule](config, setting).to(setting.example.device)
