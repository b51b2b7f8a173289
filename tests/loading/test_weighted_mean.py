"""The weighted loss of a batch, and the losses that are none."""

import pytest
import torch
from torch import nn

import sadp_dist
from sadp_dist.errors import UsageError

LOGITS, LABELS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 2, 1, 1])
WEIGHTS = torch.tensor([0.5, 2.0, 0.0, 1.5])


def test_it_is_the_sum_of_weight_times_loss_over_the_batch_size():
    logits = LOGITS.clone().requires_grad_()
    losses = nn.CrossEntropyLoss(reduction="none")(logits, LABELS)
    loss = sadp_dist.weighted_mean(losses, WEIGHTS)
    assert loss.item() == pytest.approx((0.5 * losses[0] + 2 * losses[1] + 1.5 * losses[3]).item() / 4)
    loss.backward()
    assert logits.grad[2].abs().sum() == 0 < logits.grad[0].abs().sum()


def test_the_dtype_is_that_of_the_losses():
    loss = sadp_dist.weighted_mean(torch.ones(4, dtype=torch.bfloat16), WEIGHTS.double())
    assert (loss.dtype, loss.item()) == (torch.bfloat16, 1.0)


@pytest.mark.parametrize(
    ("losses", "weights", "said"),
    [
        (nn.CrossEntropyLoss()(LOGITS, LABELS), WEIGHTS, r"^losses have shape \(\): .*reduction=\"none\""),
        (torch.ones(4, 1), WEIGHTS, r"^losses have shape \(4, 1\): one loss per example"),
        (torch.ones(4), WEIGHTS[:, None], r"^weights have shape \(4, 1\) and losses \(4,\)"),
        (torch.ones(4), torch.tensor(1.0), r"^weights have shape \(\) and losses \(4,\)"),
        (torch.ones(3), WEIGHTS, r"^weights have shape \(4,\) and losses \(3,\)"),
    ],
)
def test_shapes_that_would_weight_nothing_or_broadcast_are_refused(losses, weights, said):
    with pytest.raises(UsageError, match=said) as refused:
        sadp_dist.weighted_mean(losses, weights)
    assert "\n" not in str(refused.value)
