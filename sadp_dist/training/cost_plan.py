"""Proposes a curriculum and a pruning ratio that fit a share of the full run's time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from sadp_dist.errors import UsageError
from sadp_dist.training.step_costs import StepCost

MAX_CHEAP = 0.8
"""The largest share of the epochs with fewer time steps: the others adapt the network to the full T."""
MAX_RATIO = 0.9
"""The largest pruning ratio that is proposed."""
SMALLER_FROM = 0.5
"""From this ratio on, smaller images are tried before more is pruned."""


@dataclass(frozen=True)
class Part:
    """Epochs of a proposal that cost the same.

    Attributes:
        cost: of a batch.
        epochs: how many.
        seconds: expected for them.
    """

    cost: StepCost
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Proposal:
    """A curriculum with pruning.

    Attributes:
        parts: the first phases and the last one; one part without a curriculum.
        ratio: pruning ratio r; 0 without pruning.
        full_seconds: expected for the run on full data at full T and size.
    """

    parts: tuple[Part, ...]
    ratio: float
    full_seconds: float

    @property
    def seconds(self) -> float:
        """Expected for all epochs."""
        return sum(part.seconds for part in self.parts)

    @property
    def share(self) -> float:
        """Of the full run's time."""
        return self.seconds / self.full_seconds


def propose(costs: Sequence[StepCost], epochs: int, batches: int, target: float) -> Proposal:
    """Return the mildest proposal whose expected time is at most a share of the full run's.

    It takes, in this order, as much of each as is needed: epochs with the fewest time steps that are
    possible, up to 0.8 of them; pruning up to r = 0.5; the smaller images, largest first, in the same epochs;
    pruning up to r = 0.9. Fewer time steps come first because they leave out no example and no pixel.

    Args:
        costs: of a batch; the first one is that of the full T and size.
        epochs: of the run.
        batches: of an epoch on full data, on each rank.
        target: the share, in (0, 1).

    Raises:
        UsageError: no proposal is as short; it says which is the shortest.
    """
    full, own_size = costs[0], costs[0].image_size
    assert full.seconds is not None
    possible = [cost for cost in costs[1:] if cost.seconds is not None and cost.seconds < full.seconds]
    same_size = [cost for cost in possible if cost.image_size == own_size]
    cheap = [min(same_size, key=lambda cost: cost.time_steps)] if same_size else []
    same = cheap[0].seconds if cheap else full.seconds
    smaller = [cost for cost in possible if cost.image_size != own_size and (cost.seconds or 0) < (same or 0)]
    most = min(int(MAX_CHEAP * epochs), epochs - 1)

    def proposal(cost: StepCost, first: int, ratio: float) -> Proposal:
        kept = (1 - ratio) * batches
        parts = [(cost, first), (full, epochs - first)]
        return Proposal(
            tuple(Part(of, n, n * kept * (of.seconds or 0.0)) for of, n in parts if n),
            ratio,
            epochs * batches * (full.seconds or 0.0),
        )

    tried = [proposal(cost, first, 0.0) for cost in cheap for first in range(1, most + 1)]
    tried += [proposal(cost, most, ratio) for cost in cheap for ratio in _ratios(0, SMALLER_FROM)]
    if not cheap:
        tried += [proposal(full, 0, ratio) for ratio in _ratios(0, SMALLER_FROM)]
    of_size = sorted(smaller, key=lambda cost: -(cost.image_size or 0))
    tried += [proposal(cost, most, ratio) for cost in of_size for ratio in _ratios(0.25, SMALLER_FROM)]
    last = (of_size or cheap or [full])[-1]
    tried += [proposal(last, 0 if last is full else most, r) for r in _ratios(SMALLER_FROM, MAX_RATIO)]
    for one in tried:
        if one.share <= target:
            return one
    shortest = min(one.share for one in tried)
    raise UsageError(
        f"--target-time {target:g}: the shortest run that can be proposed takes {shortest:.3f} of the full "
        f"run's time; ask for at least {ceil(shortest * 100) / 100:.2f}"
    )


def _ratios(above: float, up_to: float) -> list[float]:
    """Return the ratios in steps of 0.05."""
    return [n / 20 for n in range(1, 20) if above < n / 20 <= up_to]


def planned_sections(sections: dict[str, Any], proposal: Proposal) -> dict[str, Any]:
    """Return a run's sections with a proposal: another name, its curriculum, and pruning at its ratio.

    A run without a rule that takes a ratio gets "sadp-plus".
    """
    *cheap, last = proposal.parts
    epochs, done, curriculum = sum(part.epochs for part in proposal.parts), 0, list[dict[str, Any]]()
    for part in cheap:
        done += part.epochs
        same = part.cost.image_size == last.cost.image_size
        size = {} if same else {"image_size": part.cost.image_size}
        curriculum.append({"until": done / epochs, "time_steps": part.cost.time_steps, **size})
    training = {key: value for key, value in sections["training"].items() if key != "curriculum"}
    if curriculum:
        training["curriculum"] = [*curriculum, {}]
    pruning = {key: value for key, value in (sections.get("pruning") or {}).items() if key != "max_ratio"}
    if proposal.ratio == 0:
        pruning = {"method": "full"}
    elif pruning.get("method") in (None, "full", "reduced-epoch"):
        pruning = {"method": "sadp-plus", "ratio": proposal.ratio}
    else:
        pruning["ratio"] = proposal.ratio
    return {**sections, "name": f"{sections['name']}-planned", "training": training, "pruning": pruning}
