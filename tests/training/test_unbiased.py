"""The weighted gradient of the subset estimates the gradient over all data without bias, fills included."""

import numpy as np
import pytest
import torch

import sadp_dist
from sadp_dist.snn import build_network
from sadp_dist.training.losses import cross_entropy

N, DRAWS = 26, 400  # S = 13: neither 2 nor 3 ranks divide it


@pytest.fixture(scope="module")
def gradients():
    """The gradient of each of N examples with respect to all weights, (N, parameters) float64."""
    torch.manual_seed(0)
    network = build_network("small_cnn", num_classes=3, image_size=8, time_steps=2).eval().double()
    images, labels = torch.randn(N, 3, 8, 8, dtype=torch.float64), torch.arange(N) % 3
    rows = []
    for i in range(N):
        network.zero_grad()
        cross_entropy(network(images[i : i + 1]), labels[i : i + 1]).sum().backward()
        rows.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize(
    ("scheme", "stratify"), [("bernoulli", "none"), ("systematic", "none"), ("systematic", "class-score")]
)
def test_its_mean_over_many_draws_meets_the_full_gradient(gradients, scheme, stratify, world_size):
    norms = np.linalg.norm(gradients, axis=1)
    # The full gradient's own direction, and others at random: what happens along each is one number a draw.
    full = gradients.mean(0)
    others = np.random.default_rng(0).standard_normal((3, len(full)))
    directions = np.stack([full, *others])
    along = gradients @ directions.T  # (N, 4)

    estimates, fills = [], 0
    for seed in range(DRAWS):
        pruning = sadp_dist.PruningConfig(
            ratio=0.5, min_probability=0.1, scheme=scheme, stratify=stratify, seed=seed
        )
        store = sadp_dist.connect("memory:", "run", N, pruning, labels=np.arange(N) % 3)
        store.push(np.arange(N), norms, epoch=0)
        shards = [store.plan(0, rank, world_size) for rank in range(world_size)]
        fills += sum(int((shard.weights == 0).sum()) for shard in shards)
        total = sum(shard.weights @ along[shard.indices] for shard in shards)
        estimates.append(total / shards[0].subset_size)
    estimates = np.array(estimates)
    error = estimates.mean(0) - directions @ full
    standard_error = estimates.std(0, ddof=1) / np.sqrt(DRAWS)
    assert (standard_error > 0).all()
    assert (np.abs(error) < 3 * standard_error).all(), error / standard_error
    assert (fills > 0) == (world_size > 1)


def test_the_subset_without_its_weights_is_biased():
    """So the test above can fail: the subset's plain mean is not that of all, the weighted one is."""
    x = np.arange(1.0, N + 1)
    plain, weighted = [], []
    for seed in range(DRAWS):
        pruning = sadp_dist.PruningConfig(ratio=0.7, seed=seed)
        store = sadp_dist.connect("memory:", "run", N, pruning)
        store.push(np.arange(N), x, epoch=0)
        shard = store.plan(0)
        plain.append(x[shard.indices].mean())
        weighted.append(shard.weights @ x[shard.indices] / shard.subset_size)
    assert np.mean(plain) > 1.2 * x.mean()
    assert np.mean(weighted) == pytest.approx(x.mean(), rel=0.02)
