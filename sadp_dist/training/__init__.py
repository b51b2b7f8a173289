"""Training runs: configuration, the loop, checkpoints and metrics."""

from sadp_dist.training.config import TrainConfig, load_config, parse_config
from sadp_dist.training.metrics import read_metrics
from sadp_dist.training.run import train

__all__ = ["TrainConfig", "load_config", "parse_config", "read_metrics", "train"]
