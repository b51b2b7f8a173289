"""The base class of the pruning rules, and the rules by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from sadp_dist.registry import Registry
from sadp_dist.selection.carried import STATE, draw_carried
from sadp_dist.selection.probabilities import inverse_probabilities
from sadp_dist.selection.sampling import draw_packed
from sadp_dist.selection.weight_exponent import exponent_for

if TYPE_CHECKING:
    from sadp_dist.selection.config import PruningConfig
    from sadp_dist.selection.passes import Extremes
    from sadp_dist.selection.plan import EpochPlan
    from sadp_dist.selection.table import ScoreTable


class Combine(Protocol):
    """What an example's score becomes when a later epoch gives a new one."""

    def __call__(
        self, before: NDArray[np.float32], new: NDArray[np.float32], epoch: int
    ) -> NDArray[np.floating]:
        """Return the scores to keep, finite and >= 0.

        Never smaller for a larger `new`: an epoch that gives several keeps the largest, and neither the order
        in which they come nor a repeat changes that.

        Args:
            before: (n,) of the epoch scored before this one, NaN where there is none.
            new: (n,) of this epoch.
            epoch: counted from 0, that of the tracking included.
        """
        ...


class Rule(ABC):
    """Decides how much of an epoch is kept, and each example's probability and weight.

    Args:
        config: of the run. A rule with options of its own gets them as further attributes of it.

    Attributes:
        needs_scores: it looks at scores, which training then has to give.
        fills_unseen: examples without a score get one before the rule is asked, see `PruningConfig.unseen`;
            else it sees NaN for them.
        needs_labels: it looks at the classes too.
        score: what it is defined with, a name of `sadp_dist.scoring`: "gradient" (Eq. 29), "loss" and others.
            A configuration may choose another one.
        only_its_score: it may not.
        weighting: "importance": w = S / (N p), so that Σ w x / S over the subset estimates the mean of x over
            the data set; "inverse": w = 1 / p, where Σ w x / N does; "one": w = 1, a mean over the subset.
        fixed: the draw's random numbers do not depend on the epoch: equal scores give the same subset in
            every one. Only the order of training changes.
        state: name -> dtype of arrays that it keeps, one entry for each example, 0 at first; see `arrays`.
        combine: what a score becomes when a later epoch gives a new one; None: the new one.
    """

    needs_scores: ClassVar[bool] = True
    fills_unseen: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    score: ClassVar[str] = "gradient"
    only_its_score: ClassVar[bool] = False
    weighting: ClassVar[str] = "importance"
    fixed: ClassVar[bool] = False
    state: ClassVar[Mapping[str, type]] = {}
    combine: Combine | None = None

    def __init__(self, config: PruningConfig) -> None:
        self.config: Any = config

    @property
    def arrays(self) -> dict[str, type]:
        """Name -> dtype of the arrays in `ScoreTable.state`: `state`, and what the draw needs.

        A snapshot of the run includes them.
        """
        return {**self.state, **STATE} if self.config.scheme == "carried" else dict(self.state)

    @property
    def tracked_epochs(self) -> int:
        """Epochs on all data, each with weight 1, that come before the run proper and give it its scores.

        After them the network is trained anew.
        """
        return 0

    @property
    def epochs(self) -> int:
        """Epochs of the run proper."""
        return int(self.config.epochs)

    @property
    def asked_ratio(self) -> float | None:
        """What a run is to leave out of K epochs; None where another option than `ratio` decides."""
        return float(self.config.ratio)

    def ratio(self, epoch: int) -> float:
        """Return the pruning ratio of an epoch of the run proper, from 0."""
        return float(self.config.ratio)

    def begin(self, table: ScoreTable, last: EpochPlan | None, epoch: int) -> None:  # noqa: B027
        """Take in what came since the last plan, before the next one is made; called once an epoch.

        A rule may change its `table.state` here.

        Args:
            table: of the run.
            last: the plan made before this one; None for the first.
            epoch: of the run, that of the tracking included.
        """

    def known(self, table: ScoreTable) -> ScoreTable:
        """Return the table as the rule's other methods see it."""
        return table.filled(self.config.unseen) if self.needs_scores and self.fills_unseen else table

    @abstractmethod
    def probabilities(self, table: ScoreTable, subset_size: int, epoch: int) -> NDArray[np.float64]:
        """Return each example's probability, (N,) float64.

        They add up to `subset_size`. Where a rule decides by the scores how many examples it keeps, they add
        up to something else, which is then the S of the epoch.

        Args:
            table: what is known about each example.
            subset_size: S = (1 - ratio(epoch)) N, rounded.
            epoch: of the run proper, from 0.
        """

    def draw(self, table: ScoreTable, p: NDArray[np.float64], epoch: int) -> NDArray[np.uint8]:
        """Return which examples are drawn, (ceil(N / 8),) packed bits.

        Example i is bit i % 8, from the lowest up, of byte i // 8: `np.packbits(..., bitorder="little")`.
        A rule that carries draws over epochs changes its `table.state` here; it is called once an epoch.

        Args:
            table: as of `probabilities`.
            p: (N,) what `probabilities` returned.
            epoch: of the run, that of the tracking included.
        """
        config = self.config
        if config.scheme == "carried":
            size, N = round(float(p.sum())), len(p)
            floor = min(self.floor(size, N) or 0.0, size / max(N, 1))
            return draw_carried(table.state, p, size, config.seed, epoch, floor)
        draw_epoch = 0 if self.fixed else epoch
        return draw_packed(p, config.seed, draw_epoch, config.scheme, config.stratify, table.labels)

    def weights(
        self,
        table: ScoreTable,
        drawn: NDArray[np.integer],
        p: NDArray[np.float64],
        subset_size: int,
        epoch: int,
    ) -> NDArray[np.float64]:
        """Return the weights of the drawn examples, (n,) float64, as `weighting` says.

        Args:
            table: as of `probabilities`.
            drawn: (n,) indices.
            p: (N,) what `probabilities` returned.
            subset_size: S = Σ p, rounded.
            epoch: of the run proper, from 0.
        """
        if self.weighting == "one":
            return np.ones(len(drawn))
        scale = 1.0 if self.weighting == "inverse" else subset_size / max(len(p), 1)
        return inverse_probabilities(p, drawn, scale)

    def weight_exponent(self, table: ScoreTable) -> float:
        """Return θ, the power of the weights: that of the configuration, or for "auto" what the scores say.

        Args:
            table: as of `probabilities`.
        """
        θ = self.config.weight_exponent
        return exponent_for(table.scores) if θ == "auto" else float(θ)

    def weighted_size(self, subset_size: int, dataset_size: int, drawn: int) -> int:
        """Return by what a weighted sum over the subset is divided to be a mean: S, N or the number drawn."""
        return {"importance": subset_size, "inverse": dataset_size, "one": drawn}[self.weighting]

    def floor(self, subset_size: int, dataset_size: int) -> float | None:
        """Return β, below which no probability is if β <= S / N; None for a rule that has none."""
        return None

    def gamma(self, table: ScoreTable, p: NDArray[np.float64], found: Extremes) -> float | None:
        """Return γ, which lifted the smallest p to the floor; None for a rule that has none."""
        return None


_SHIPPED = {
    "sadp": "sadp",
    "sadp-plus": "sadp_plus:SADPPlusConfig",
    "infobatch": "infobatch:InfoBatchConfig",
    "batch-loss": "batch_loss:InfoBatchConfig",
    "seta": "seta:SeTaConfig",
    "rcap": "rcap:RCAPConfig",
    "repb": "repb:InfoBatchConfig",
    "forgetting": "forgetting:TrackedConfig",
    "el2n": "el2n:TrackedConfig",
    "grand": "grand:TrackedConfig",
    "random": "random",
    "rs2": "rs2:RS2Config",
    "reduced-epoch": "reduced_epoch",
    "full": "full",
}

RULES: Registry[type[Rule]] = Registry(
    "pruning rule", {name: f"sadp_dist.selection.rules.{place}" for name, place in _SHIPPED.items()}
)
"""Name -> class."""


def register(name: str, options: type[PruningConfig] | None = None) -> Callable[[type[Rule]], type[Rule]]:
    """Register a rule under `name`, which is then what `method` may be.

    Args:
        name: of the rule.
        options: a subclass of `PruningConfig` that adds the rule's own options.

    Raises:
        UsageError: the name belongs to another rule.
    """
    return RULES.register(name, options)
