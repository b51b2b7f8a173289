"""Each partner of a mixed example gets the score by its share."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sadp_dist.errors import UsageError
from sadp_dist.scoring import SpikeAwareScorer, unmixed_scores

SCORES = torch.tensor([1.0, 2.0, 4.0, 8.0])
PARTNER = torch.tensor([1, 2, 0, 3])


def test_a_share_of_one_or_of_the_example_itself_changes_nothing():
    assert torch.equal(unmixed_scores(SCORES, PARTNER, 1.0), SCORES)
    torch.testing.assert_close(unmixed_scores(SCORES, torch.arange(4), 0.3), SCORES)


def test_shares_are_those_of_the_mix():
    expected = torch.tensor([0.25 * 1 + 0.75 * 4, 0.25 * 2 + 0.75 * 1, 0.25 * 4 + 0.75 * 2, 8.0])
    torch.testing.assert_close(unmixed_scores(SCORES, PARTNER, 0.25), expected)


def test_shares_that_differ_are_weights_of_a_mean():
    shares = torch.tensor([0.5, 1.0, 0.25, 0.0])
    expected = torch.tensor(
        [(0.5 * 1 + 0.75 * 4) / 1.25, (1.0 * 2 + 0.5 * 1) / 1.5, 4.0, 8.0]  # nothing of 1 goes to 2
    )
    torch.testing.assert_close(unmixed_scores(SCORES, PARTNER, shares), expected)


def test_a_mixed_example_without_a_score_does_not_count():
    scores = torch.tensor([1.0, float("nan"), float("nan"), 8.0])
    unmixed = unmixed_scores(scores, PARTNER, 0.25)
    torch.testing.assert_close(unmixed, torch.tensor([1.0, 1.0, float("nan"), 8.0]), equal_nan=True)


def test_the_example_that_most_of_a_large_gradient_comes_from_has_the_large_score():
    torch.manual_seed(4)
    model, x, y = nn.Linear(8, 3), torch.randn(2, 8), torch.tensor([0, 1])
    x[1] *= 20
    other, share, coefficients = torch.tensor([1, 0]), 0.1, torch.full((2,), 0.5)
    scorer = SpikeAwareScorer(model)
    with scorer:
        logits = model(share * x + (1 - share) * x[other])
        losses = share * cross_entropy(logits, y, reduction="none")
        losses = losses + (1 - share) * cross_entropy(logits, y[other], reduction="none")
        (coefficients * losses).sum().backward()
    mixed = scorer.scores(coefficients)
    unmixed = unmixed_scores(mixed, other, share)
    assert mixed[0] > mixed[1], "mixed example 0 is nine tenths of example 1"
    assert unmixed[1] > unmixed[0]


@pytest.mark.parametrize(
    ("partner", "share", "said"),
    [
        (PARTNER[:3], 0.5, r"scores have shape \(4,\) and partner \(3,\)"),
        (PARTNER.float(), 0.5, r"partner has dtype torch.float32"),
        (PARTNER, torch.tensor([0.5]), r"share has shape \(1,\): one number, or \(4,\)"),
    ],
)
def test_other_shapes_are_refused(partner, share, said):
    with pytest.raises(UsageError, match=said):
        unmixed_scores(SCORES, partner, share)
