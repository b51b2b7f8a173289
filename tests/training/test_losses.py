"""Per-example losses, against their definitions written as loops."""

import pytest
import torch
import torch.nn.functional as F

from sadp_dist.training.losses import correct, cross_entropy, tet, tet_label

T, B, K = 3, 5, 4


@pytest.fixture
def logits():
    return torch.randn(T, B, K, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels():
    return torch.tensor([0, 1, 2, 3, 0])


def test_cross_entropy_is_of_the_mean_over_time(logits, labels):
    expected = [F.cross_entropy(logits[:, i].mean(0), labels[i], label_smoothing=0.1) for i in range(B)]
    torch.testing.assert_close(cross_entropy(logits, labels, 0.1), torch.stack(expected))


def test_tet_is_the_mean_of_the_losses_of_the_time_steps_and_a_pull_towards_phi(logits, labels):
    expected = []
    for i in range(B):
        ce = sum(F.cross_entropy(logits[t, i], labels[i]) for t in range(T)) / T
        mse = sum(((logits[t, i] - 1) ** 2).mean() for t in range(T)) / T
        expected.append(0.7 * ce + 0.3 * mse)
    torch.testing.assert_close(tet(logits, labels, lamb=0.3), torch.stack(expected))


def test_tet_label_has_a_pull_towards_the_label(logits, labels):
    expected = []
    for i in range(B):
        ce = sum(F.cross_entropy(logits[t, i], labels[i]) for t in range(T)) / T
        wanted = [float(k == labels[i]) for k in range(K)]
        mse = sum(((logits[t, i, k] - wanted[k]) ** 2) / K for t in range(T) for k in range(K)) / T
        expected.append(0.9 * ce + 0.1 * mse)
    torch.testing.assert_close(tet_label(logits, labels, lamb=0.1), torch.stack(expected))


def test_an_example_is_correct_if_its_mean_logit_is_the_highest(logits, labels):
    expected = [int(logits[:, i].mean(0).argmax()) == int(labels[i]) for i in range(B)]
    assert correct(logits, labels).tolist() == expected
