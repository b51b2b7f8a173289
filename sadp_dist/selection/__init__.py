"""Arrays in, arrays out: probabilities, schedule, drawing, weights, sharding, and the rules made of them."""

from sadp_dist.selection.config import PruningConfig, PruningSchedule
from sadp_dist.selection.plan import EpochPlan, ProbabilityReport, Shard, plan_epoch, shard
from sadp_dist.selection.probabilities import importance_weights, selection_probabilities
from sadp_dist.selection.random import uniform
from sadp_dist.selection.rule import RULES, Rule, register
from sadp_dist.selection.sampling import draw
from sadp_dist.selection.table import ScoreTable

__all__ = [
    "RULES",
    "EpochPlan",
    "ProbabilityReport",
    "PruningConfig",
    "PruningSchedule",
    "Rule",
    "ScoreTable",
    "Shard",
    "draw",
    "importance_weights",
    "plan_epoch",
    "register",
    "selection_probabilities",
    "shard",
    "uniform",
]
