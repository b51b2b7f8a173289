"""The learning rate follows the share of the epochs that is done, however long each epoch is."""

import math

import pytest

from sadp_dist.training.config import OptimizationConfig
from sadp_dist.training.optimizer import cosine_rate

CONFIG = OptimizationConfig(epochs=10, learning_rate=0.2, warmup_epochs=2)


def test_it_warms_up_from_zero_and_falls_to_zero_at_the_end():
    assert cosine_rate(CONFIG, 0) == 0
    assert cosine_rate(CONFIG, 1) == pytest.approx(0.1)
    assert cosine_rate(CONFIG, 2) == pytest.approx(0.2)
    assert cosine_rate(CONFIG, 6) == pytest.approx(0.1)
    assert cosine_rate(CONFIG, 10) == pytest.approx(0, abs=1e-12)


def test_at_full_length_it_is_torchs_cosine_annealing():
    import torch
    from torch.optim.lr_scheduler import CosineAnnealingLR

    config = OptimizationConfig(epochs=7, learning_rate=0.3)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler = CosineAnnealingLR(optimizer, T_max=7)
    for epoch in range(7):
        assert cosine_rate(config, epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


def test_a_warm_up_as_long_as_the_run_ends_at_the_full_rate():
    config = OptimizationConfig(epochs=2, learning_rate=0.2, warmup_epochs=2)
    assert math.isclose(cosine_rate(config, 2), 0.2)
