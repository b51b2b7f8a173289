"""Reproduces the paper's tables and figures: trains the runs of each and evaluates them."""

from sadp_dist.reproduce import (  # noqa: F401 - each registers its experiments
    ablations,
    baselines,
    correlations,
    curriculum,
    efficient_inference,
    efficient_models,
    gradient_variances,
    imagenet,
    learning_rules,
    pruning_pays,
    scale_factors,
    score_noise,
    sltt,
    training_times,
)
from sadp_dist.reproduce.experiment import EXPERIMENTS, Experiment, register

__all__ = ["EXPERIMENTS", "Experiment", "register"]
