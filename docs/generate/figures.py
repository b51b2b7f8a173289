"""Draw the figures of docs/method.md into docs/figures/, from the functions that plan real epochs.

    python docs/generate/figures.py [--out FOLDER]

The scores are synthetic: 20,000 lognormal gradient norms, and a score and a loss that follow them with noise.
The figures in the legends are computed, and the command prints them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from sadp_dist.selection import PruningSchedule, draw, importance_weights, selection_probabilities

FOLDER = Path(__file__).parents[1] / "figures"
TABLE_II = ((0.3, 0.35, 0.6), (0.5, 0.3, 0.7), (0.7, 0.2, 0.9), (0.9, 0.05, 1.0))
"""The paper's settings: r, β, r_max."""

N = 20_000
R = 0.5
S = round((1 - R) * N)
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "sadp_dist",
}
Floats = NDArray[np.float64]


def synthetic() -> tuple[Floats, Floats, Floats]:
    """Return gradient norms, scores that follow them closely, and losses that follow them loosely."""
    rng = np.random.default_rng(0)
    norms = rng.lognormal(0.0, 1.0, N)
    scores = norms * rng.lognormal(0.0, 0.2, N)
    losses = norms**0.7 * rng.lognormal(0.0, 0.5, N)
    return norms, scores, losses


def variance(norms: Floats, probabilities: Floats) -> float:
    """Return the variance of the mean gradient with independent draws, Σ g² (1 - p) / p / N² (Eq. 12)."""
    return float((norms**2 * (1 - probabilities) / probabilities).sum() / N**2)


def pipeline() -> plt.Figure:
    """Draw the stages of an epoch."""
    stages = (
        ("forward,\nbackward", "training"),
        ("scores", "scoring"),
        ("store", "store"),
        ("probabilities,\nsubset, weights", "selection"),
        ("a shard for\neach rank", "selection"),
        ("sampler,\nloader", "loading"),
    )
    figure, axes = plt.subplots(figsize=(8, 1.9))
    axes.axis("off")
    axes.set(xlim=(-0.5, len(stages) - 0.5), ylim=(-1.5, 0.6))
    box = {"boxstyle": "round,pad=0.45", "facecolor": "#e8eaf6", "edgecolor": "#3f51b5"}
    for x, (stage, part) in enumerate(stages):
        axes.text(x, 0, stage, ha="center", va="center", bbox=box)
        axes.text(x, -0.62, part, ha="center", va="center", family="monospace", fontsize=8, color="#555555")
        if x:
            axes.annotate("", (x - 0.44, 0), (x - 0.56, 0), arrowprops={"arrowstyle": "->"})
    last = len(stages) - 1
    axes.plot([last, last, 0], [-0.8, -1.05, -1.05], color="#555555", linewidth=1)
    axes.annotate("", (0, -0.75), (0, -1.08), arrowprops={"arrowstyle": "->", "color": "#555555"})
    axes.text(last / 2, -1.15, "the batches of the next epoch", ha="center", color="#555555", va="top")
    return figure


def probabilities() -> plt.Figure:
    """Draw selection probabilities over scores: proportional, capped at 1, raised to the floor."""
    _, scores, _ = synthetic()
    order = np.sort(scores)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
    left.hist(scores, np.linspace(0, 6, 61), color="#9fa8da")
    left.set(xlabel="score G", ylabel="examples", title="Scores")
    for beta in (0.0, 0.1, 0.3):
        p = selection_probabilities(order, S, beta)
        right.plot(order, p, label=f"β = {beta:g}: {np.count_nonzero(p == 1) / N:.0%} have p = 1")
    right.set(xlabel="score G", ylabel="p", xlim=(0, 6), ylim=(0, 1.05), title=f"Probabilities, r = {R:g}")
    right.legend(loc="lower right")
    return figure


def schedule() -> plt.Figure:
    """Draw Eq. 42 for the settings of Table II."""
    figure, axes = plt.subplots(figsize=(5.5, 3))
    for r, _, r_max in TABLE_II:
        planned = PruningSchedule(r, min(r_max, 0.999999), epochs=200)  # 1 would warn of an empty epoch
        axes.plot(
            range(1, 201), [planned.ratio(k) for k in range(1, 201)], label=f"r = {r:g}, r_max = {r_max:g}"
        )
    axes.set(xlabel="epoch k of K = 200", ylabel="pruning ratio r_k", ylim=(-0.03, 1.03))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def floor() -> plt.Figure:
    """Draw the largest weight and the variance over β."""
    norms, scores, _ = synthetic()
    betas = np.linspace(0.01, 0.5, 50)
    drawn = [selection_probabilities(scores, S, beta) for beta in betas]
    least = variance(norms, selection_probabilities(scores, S))
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
    left.plot(betas, [importance_weights(p, np.arange(N), S).max() for p in drawn])
    left.set(
        xlabel="β",
        ylabel="largest weight, S / (N β)",
        yscale="log",
        title="A higher floor limits the weights ...",
    )
    right.plot(betas, [variance(norms, p) / least for p in drawn])
    right.set(xlabel="β", ylabel="variance, 1 without a floor", title="... and raises the variance")
    return figure


def variances() -> plt.Figure:
    """Draw the variance of the gradient estimate for several selection criteria."""
    norms, scores, losses = synthetic()
    ratios = np.linspace(0.1, 0.9, 33)
    figure, axes = plt.subplots(figsize=(6.5, 3.2))
    choices: tuple[tuple[str, Floats, float], ...] = (
        ("at random", np.ones(N), 0.0),
        (f"by the loss (correlation {np.corrcoef(losses, norms)[0, 1]:.2f})", losses, 0.0),
        (f"by the score (correlation {np.corrcoef(scores, norms)[0, 1]:.2f})", scores, 0.0),
        ("by the score, β = 0.3", scores, 0.3),
        ("by the gradient norm (lowest possible)", norms, 0.0),
    )
    for label, by, beta in choices:
        p_of = [selection_probabilities(by, (1 - r) * N, beta) for r in ratios]
        axes.plot(ratios, [variance(norms, p) for p in p_of], label=label)
        print(f"variance at r = 0.5, {label}: {variance(norms, selection_probabilities(by, S, beta)):.2e}")
    axes.set(xlabel="pruning ratio r", ylabel="variance of the estimate", yscale="log")
    axes.legend(fontsize=8)
    return figure


def subset_sizes() -> plt.Figure:
    """Draw the subset sizes of 200 epochs for both schemes."""
    _, scores, _ = synthetic()
    p = selection_probabilities(scores, S, 0.3)
    figure, axes = plt.subplots(figsize=(6.5, 2.4))
    for scheme in ("bernoulli", "systematic"):
        sizes = [len(draw(p, epoch=epoch, scheme=scheme)) for epoch in range(200)]
        axes.plot(sizes, label=f"{scheme}: {min(sizes):,} to {max(sizes):,}")
        print(f"subset sizes, {scheme}: {min(sizes)} to {max(sizes)}")
    axes.set(xlabel="epoch", ylabel="examples drawn")
    axes.legend(loc="upper right")
    return figure


FIGURES: dict[str, Callable[[], plt.Figure]] = {
    "pipeline": pipeline,
    "probabilities": probabilities,
    "schedule": schedule,
    "floor": floor,
    "variances": variances,
    "subset-sizes": subset_sizes,
}


def draw_all(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        for name, make in FIGURES.items():
            figure = make()
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="default: docs/figures")
    draw_all(parser.parse_args().out)
