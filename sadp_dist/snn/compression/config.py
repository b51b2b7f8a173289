"""What a person can set about compression: the keys of a configuration's `compression:` section."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real

from sadp_dist.choices import check_choice
from sadp_dist.errors import UsageError

METHODS = ("none", "qat", "activity-pruning", "sparse-structure")
SCOPES = {"activity-pruning": ("layer", "network"), "sparse-structure": ("layer", "neuron")}
NEEDS_MOMENTUM = ("activity-pruning", "sparse-structure")
"""Methods that grow connections by the momentum which the optimizer keeps."""


@dataclass(frozen=True)
class CompressionConfig:
    """How the network is made smaller while it trains.

    Attributes:
        method: "none", "qat" (quantised weights), "activity-pruning" (channels of low activity go) or
            "sparse-structure" (few connections from the start, rewired in between).
        bits: of a weight with "qat", 2 to 8; the first and the last layer have 8.
        connectivity: the share of the weights that is left, in (0, 1): what "activity-pruning" comes to, and
            where "sparse-structure" stops to fall.
        until: the share of the epochs after which connections stay as they are, in (0, 1].
        regrow: with "activity-pruning", the share of the weights left that goes to channels taken in again,
            in [0, 1).
        density: with "sparse-structure", the share of the weights that it begins with, in (0, 1].
        scope: what is looked at by itself. With "activity-pruning" channels are compared in each "layer", or
            in the whole "network"; with "sparse-structure" each "layer" is rewired, or each "neuron".
        every: with "sparse-structure", epochs between rewirings.
        shrink: with "sparse-structure", whether connectivity falls at each rewiring; false keeps `density`.
        gamma: γ of Eq. 4, which scales what is removed, above 0.
        beta: β of Eq. 4, the largest share of the connections that is removed, in (0, 1].
        alpha: α_r of Eq. 3, at least 0; the larger, the more is removed.
        p: of the PQ index, 0 < p < q.
        q: of the PQ index.

    Raises:
        UsageError: a value out of its range, or a name that is not known.
    """

    method: str = "none"
    bits: int = 8
    connectivity: float = 0.3
    until: float = 0.75
    regrow: float = 0.1
    density: float = 0.5
    scope: str = "layer"
    every: int = 10
    shrink: bool = True
    gamma: float = 1.0
    beta: float = 0.9
    alpha: float = 0.001
    p: float = 0.5
    q: float = 1.0

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_choice("scope", self.scope, SCOPES.get(self.method, ("layer",)))
        if not _is_whole(self.bits) or not 2 <= self.bits <= 8:
            raise UsageError(f"bits={self.bits!r} is not a whole number from 2 to 8")
        if not _is_whole(self.every) or self.every < 1:
            raise UsageError(f"every={self.every!r} is not a whole number of at least 1")
        for name, fits, allowed in (
            ("connectivity", lambda x: 0 < x < 1, "a number in (0, 1)"),
            ("until", lambda x: 0 < x <= 1, "a number in (0, 1]"),
            ("regrow", lambda x: 0 <= x < 1, "a number in [0, 1)"),
            ("density", lambda x: 0 < x <= 1, "a number in (0, 1]"),
            ("gamma", lambda x: 0 < x < float("inf"), "a number above 0"),
            ("beta", lambda x: 0 < x <= 1, "a number in (0, 1]"),
            ("alpha", lambda x: 0 <= x < float("inf"), "a number of at least 0"),
            ("p", lambda x: 0 < x < float("inf"), "a number above 0"),
            ("q", lambda x: 0 < x < float("inf"), "a number above 0"),
        ):
            value = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool) or not fits(value):
                raise UsageError(f"{name}={value!r} is not {allowed}")
        if not self.p < self.q:
            raise UsageError(f"p={self.p} must be below q={self.q}: the PQ index is of 0 < p < q")
        if self.method == "sparse-structure" and self.shrink and self.density < self.connectivity:
            raise UsageError(
                f"density={self.density} is below connectivity={self.connectivity}, to which it would fall: "
                "begin with more, or lower connectivity"
            )

    def check_epochs(self, epochs: int) -> None:
        """Refuse a run so short that "sparse-structure" would never rewire.

        Raises:
            UsageError: as said.
        """
        last = min(int(self.until * epochs), epochs - 1)
        if self.method == "sparse-structure" and self.every > last:
            raise UsageError(
                f"compression.every={self.every}: of {epochs} epochs the last after which connections may "
                f"change is number {last} (compression.until={self.until}); rewire more often or train longer"
            )


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
