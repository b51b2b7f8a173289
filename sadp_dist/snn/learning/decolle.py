"""DECOLLE: local learning through fixed random classifiers, continuously in time."""

from __future__ import annotations

from sadp_dist.snn.learning.config import register_learning_rule
from sadp_dist.snn.learning.local import LocalRule


@register_learning_rule("decolle")
class DECOLLE(LocalRule):
    """Deep continuous local learning (Kaiser, Mostafa and Neftci, Frontiers in Neuroscience 2020).

        ΔW_ij^l = -η Σ_t ∂ℓ^l[t]/∂s_i^l[t] ψ(u_i^l[t]) P_j^l[t],    y^l[t] = G^l s^l[t] with G^l fixed, random

    P is the trace of presynaptic spikes: with these neurons, whose one leak is λ, P[t] = λ P[t-1] + s[t]; the
    paper's have one leak each of membrane and synapse. The loss is the run's own (the paper: smooth L1), and
    its two regularisers, of potentials and activity, are left out.
    """

    trained = False
    traced = True
    encodes_once = False  # inputs have traces, too
