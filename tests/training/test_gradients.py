"""Every step's gradient is Σ w_i ∇ℓ_i / (examples of the step), on any number of ranks and micro-batches."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from sadp_dist.data import open_images
from sadp_dist.selection import plan_epoch
from sadp_dist.snn import build_network
from sadp_dist.training import parse_config
from tests.forked import run_ranks
from tests.training.conftest import environment
from tests.training.gradients import flat_gradient, gradients_of_an_epoch, scores

# S = 97 examples of 1442. In one step of up to 108, or in steps of up to 48, where full ones would leave one
# example for the last. On 2 ranks the last step is joined by a fill, and its micro-batches differ in size.
SUBSET = {"ratio": 1 - 97 / 1442, "max_ratio": None, "min_probability": 0.0, "stratify": "none"}
STEPS = {108: [97], 48: [36, 36, 25]}


@pytest.fixture(params=STEPS, ids=["one step", "three steps"])
def raw(recipe, request):
    # The steps are so small that the weights stay as they are, for all steps and all ways to take them.
    training = {"epochs": 1, "batch_size": request.param, "optimizer": "sgd", "learning_rate": 1e-12}
    return recipe(
        name="gradients", data={"std": [32.0] * 3}, training={**training, "momentum": 0.0}, pruning=SUBSET
    )


@pytest.fixture
def expected(raw):
    """The same gradients from the plan and one example at a time."""
    config = parse_config(raw)
    images = open_images(config.data.train, config.data.train_split)
    torch.manual_seed(config.seed)
    network = build_network("small_cnn", num_classes=10, image_size=8, time_steps=2).eval()
    plan = plan_epoch(scores(len(images)).float().numpy(), 0, config.pruning)
    assert plan.drawn == 97
    assert plan.weights.max() > 2 * plan.weights.min()
    rows = []
    for index in plan.indices:
        network.zero_grad()
        image, label = images[index]
        logits = network((torch.from_numpy(np.array(image)).movedim(-1, 0)[None] / 32).float())
        F.cross_entropy(logits.mean(0), torch.tensor([label])).backward()
        rows.append(flat_gradient(network))
    weighted = torch.from_numpy(plan.weights)[:, None] * torch.stack(rows)
    steps = STEPS[config.training.batch_size]
    return torch.stack([part.mean(0) for part in weighted.split(steps)])


def assert_same_steps(steps, expected):
    assert steps.shape == expected.shape
    assert (expected.norm(dim=1) > 0).all()
    errors = (steps - expected).norm(dim=1) / expected.norm(dim=1)
    assert (errors < 1e-5).all(), errors


@pytest.mark.parametrize("accumulate", [1, 3])
def test_alone(raw, expected, accumulate):
    assert_same_steps(gradients_of_an_epoch(parse_config(raw), accumulate), expected)


@pytest.mark.slow
def test_on_two_ranks(raw, expected, tmp_path):
    config, out = tmp_path / "gradients.yaml", tmp_path / "gradients.pt"
    config.write_text(yaml.safe_dump(raw), encoding="utf-8")
    script = Path(__file__).with_name("gradients.py")
    done = run_ranks([script, config, out, "1", "3"], 2, env=environment())
    assert done.returncode == 0, done.stderr
    found = torch.load(out, weights_only=True)
    assert found.keys() == {1, 3}
    for steps in found.values():
        assert_same_steps(steps, expected)
