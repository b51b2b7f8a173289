"""ELL: local learning with trained classifiers, within each time step."""

from __future__ import annotations

from sadp_dist.snn.learning.config import register_learning_rule
from sadp_dist.snn.learning.local import LocalRule


@register_learning_rule("ell")
class ELL(LocalRule):
    """Efficient local learning (Ma, Yan, Yu and Yu, IEEE Transactions on Cybernetics 2023).

    Each layer learns together with an auxiliary classifier, from dependencies within the current time step
    only. (The paper's two variants add dependencies over time.) The implementation follows the paper's
    abstract and the description in SADP; the form of the auxiliary classifiers is this project's choice.
    """

    trained = True
    traced = False
