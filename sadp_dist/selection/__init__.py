"""Arrays in, arrays out: probabilities, schedule, drawing, weights, sharding, and the rules made of them."""

from sadp_dist.selection.config import PruningConfig
from sadp_dist.selection.plan import EpochPlan, ProbabilityReport, plan_epoch
from sadp_dist.selection.probabilities import selection_probabilities
from sadp_dist.selection.random import uniform
from sadp_dist.selection.rule import RULES, Rule, register
from sadp_dist.selection.sampling import draw, importance_weights
from sadp_dist.selection.schedule import PruningSchedule
from sadp_dist.selection.sharding import Shard, shard
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
