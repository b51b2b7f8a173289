"""Print what r, r_max and β mean for a run, or compare the paper's settings.

    python docs/generate/choosing.py
    python docs/generate/choosing.py --ratio 0.5 --max-ratio 0.7 --epochs 200 --dataset-size 50000 \\
      --full-epoch 60

--full-epoch is the time of an epoch on all data in seconds.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

from sadp_dist.selection import PruningConfig

TABLE_II = ((0.3, 0.35, 0.6), (0.5, 0.3, 0.7), (0.7, 0.2, 0.9), (0.9, 0.05, 1.0))
"""The paper's settings: r, β, r_max."""
PAPER: dict[str, Any] = {"schedule": "paper", "floor": "absolute"}


def markdown() -> str:
    """Return a table of the paper's settings, for 200 epochs of 50,000 examples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # r_max = 1 has an empty last epoch; the page says so
        chosen = [
            facts(PruningConfig(ratio=r, max_ratio=r_max, min_probability=beta, epochs=200, **PAPER), 50_000)
            for r, beta, r_max in TABLE_II
        ]
    rows = [f"| {name} | {' | '.join(of[name] for of in chosen)} |" for name in chosen[0]]
    return "\n".join([rows[0], "| --- | ---: | ---: | ---: | ---: |", *rows[1:]])


def facts(config: PruningConfig, N: int, full_epoch: float | None = None) -> dict[str, str]:
    """Return what is known about a run before it starts."""
    K = config.epochs
    b, r_max = config.min_probability, config.max_ratio or config.ratio
    ratios = [config.rule.ratio(epoch) for epoch in range(K)]
    sizes = [round((1 - ratio) * N) for ratio in ratios]
    floors = [config.rule.floor(S, N) or 0.0 for S in sizes]
    flat = next((k for k, (S, floor) in enumerate(zip(sizes, floors, strict=True), 1) if floor * N > S), None)
    relative = " S / N" if config.floor == "relative" else ""
    largest = max((S / (N * floor) for S, floor in zip(sizes, floors, strict=True) if floor), default=None)
    found = {
        "r, β, r_max": f"{config.ratio:g}, {b:g}{relative}, {r_max:g}",
        "pruned in the first epoch": f"{ratios[0]:.1%}",
        "pruned in the last epoch": f"{ratios[-1]:.1%}",
        "examples in the first epoch": f"{sizes[0]:,}",
        "examples in the last epoch": f"{sizes[-1]:,}",
        "examples trained on, of full data": f"{sum(sizes) / (K * N):.1%}",
        "largest weight possible, S / (N β)": "no bound" if largest is None else f"{max(1.0, largest):.2f}",
        "equal p (β above S/N) from epoch": f"{flat}" if flat else "never",
    }
    if full_epoch:
        found["time saved, at most"] = (
            f"{(K - sum(sizes) / N) * full_epoch / 3600:.1f} h of {K * full_epoch / 3600:.1f} h"
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Print what r, r_max and β mean for a run.")
    parser.add_argument("--ratio", type=float, help="r (default: compare the paper's settings)")
    parser.add_argument("--max-ratio", type=float, help="r_max (default: r)")
    parser.add_argument("--min-probability", type=float, default=0.2, help="b or β (default: 0.2)")
    parser.add_argument("--paper", action="store_true", help="the published schedule, and an absolute floor")
    parser.add_argument("--epochs", type=int, default=200, help="K (default: 200)")
    parser.add_argument("--dataset-size", type=int, default=50_000, help="N (default: 50,000)")
    parser.add_argument("--full-epoch", type=float, help="seconds of an epoch on all data")
    given = parser.parse_args()
    if given.ratio is None:
        print(markdown())
        return
    try:
        config = PruningConfig(
            ratio=given.ratio,
            max_ratio=given.max_ratio,
            min_probability=given.min_probability,
            epochs=given.epochs,
            **(PAPER if given.paper else {}),
        )
    except ValueError as error:
        parser.error(str(error))
    for name, value in facts(config, given.dataset_size, given.full_epoch).items():
        print(f"{name + ':':<38}{value}")


if __name__ == "__main__":
    main()
