"""DECOLLE: local learning with fixed random classifiers at every time step."""

from __future__ import annotations

from sadp_dist.snn.learning.config import register_learning_rule
from sadp_dist.snn.learning.local import LocalRule


@register_learning_rule("decolle")
class DECOLLE(LocalRule):
    """Deep continuous local learning (Kaiser, Mostafa and Neftci, Frontiers in Neuroscience 2020).

        ΔW_ij^l = -η Σ_t ∂ℓ^l[t]/∂s_i^l[t] ψ(u_i^l[t]) P_j^l[t],    y^l[t] = G^l s^l[t] with G^l fixed, random

    P is the trace of presynaptic spikes. Neurons here have one leak λ, so P[t] = λ P[t-1] + s[t]; the paper's
    neurons have separate leaks of membrane and synapse. The loss is that of the run (in the paper: smooth
    L1). The paper's regularisers of potentials and activity are not implemented.
    """

    trained = False
    traced = True
    encodes_once = False  # inputs also have traces
