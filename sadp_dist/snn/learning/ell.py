"""ELL: local learning with trained classifiers, from what happens within a time step."""

from __future__ import annotations

from sadp_dist.snn.learning.config import register_learning_rule
from sadp_dist.snn.learning.local import LocalRule


@register_learning_rule("ell")
class ELL(LocalRule):
    """Efficient local learning (Ma, Yan, Yu and Yu, IEEE Transactions on Cybernetics 2023).

    Each layer is optimised with an auxiliary classifier that learns with it, by direct dependencies within
    the current time step alone. (The paper's two variants add those over time.) It was built from the paper's
    abstract and from what SADP says of it: the auxiliary classifiers' form is this project's.
    """

    trained = True
    traced = False
