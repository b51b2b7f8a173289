"""The gradients that a Trainer's optimizer is given; `test_gradients.py` starts it under torchrun, too.

python gradients.py CONFIG OUT ACCUMULATE...      writes {accumulate: (steps, parameters)} of rank 0 to OUT
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sadp_dist.training import TrainConfig, load_config
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.processes import join_job
from sadp_dist.training.progress import Progress
from sadp_dist.training.trainer import Trainer


def scores(size: int) -> Tensor:
    """Scores that differ, so that weights do."""
    return torch.from_numpy(np.random.default_rng(0).lognormal(size=size))


def flat_gradient(network: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters()]).double()


def gradients_of_an_epoch(config: TrainConfig, accumulate: int) -> Tensor:
    """The gradient at each step of the first epoch, (steps, parameters) float64, on this rank."""
    training = config.training.replace(accumulate=accumulate)
    with join_job() as process:
        trainer = Trainer(config.replace(training=training), process)
        # Batch norm makes an example's gradient depend on its batch; with its running statistics it does not.
        trainer.learner.trained.eval()
        trainer.learner.trained.train = lambda mode=True: trainer.learner.trained
        seen = []
        trainer.learner.optimizer.register_step_pre_hook(
            lambda *_: seen.append(flat_gradient(trainer.learner.network))
        )
        mine = torch.arange(process.rank, trainer.data.size, process.world_size)
        trainer.store.push(mine, scores(trainer.data.size)[mine], epoch=0)
        trainer.train_epoch(Checkpoints(config.run_dir), Progress(config.name, 1, enabled=False))
        trainer.store.close()
    return torch.stack(seen)


if __name__ == "__main__":
    path, out, *accumulations = sys.argv[1:]
    with join_job() as job:
        found = {int(a): gradients_of_an_epoch(load_config(path), int(a)) for a in accumulations}
        if job.is_first:
            torch.save(found, Path(out))
