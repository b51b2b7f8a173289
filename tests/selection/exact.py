"""Selection probabilities in exact rational arithmetic, straight from Eqs. 13-16, 40 and 41."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def exact_probabilities(
    scores: Sequence[float], subset_size: float, floor: float = 0.0, zero_scores: str = "floor"
) -> list[float]:
    G = [Fraction(float(g)) for g in scores]
    S, beta = Fraction(subset_size), Fraction(floor)
    if zero_scores == "paper" and 0 < sum(g > 0 for g in G) < len(G):
        positive = [g for g in G if g > 0]
        zeros = len(G) - len(positive)
        among = iter(_with_floor(positive, min(S, Fraction(len(positive))), beta))
        rest = max(S - len(positive), Fraction(0)) / zeros
        return [float(next(among)) if g > 0 else float(rest) for g in G]
    return [float(p) for p in _with_floor(G, S, beta)]


def _with_floor(G: list[Fraction], S: Fraction, beta: Fraction) -> list[Fraction]:
    N = len(G)
    if beta >= S / N:
        return [S / N] * N
    p = _without_floor(G, S)
    if min(p) >= beta:
        return p
    ascending, G_min = sorted(G), min(G)
    for M in range(N):
        # Eq. 40 with |R| = N - M: Σ_R (G + γ) = α (S - M) and G_min + γ = α β.
        mass = S - M - beta * (N - M)
        if mass <= 0:
            break
        alpha = sum((g - G_min for g in ascending[: N - M]), Fraction(0)) / mass
        gamma = alpha * beta - G_min
        if ascending[N - M - 1] + gamma < alpha:
            break
    return [min((g + gamma) / alpha, Fraction(1)) for g in G]


def _without_floor(G: list[Fraction], S: Fraction) -> list[Fraction]:
    N, positive = len(G), sum(g > 0 for g in G)
    if positive <= S:
        return [Fraction(1) if g > 0 else (S - positive) / (N - positive) for g in G]
    ascending = sorted(G)
    for M in range(N):
        alpha = sum(ascending[: N - M], Fraction(0)) / (S - M)
        if ascending[N - M - 1] < alpha:
            break
    return [min(g / alpha, Fraction(1)) for g in G]
