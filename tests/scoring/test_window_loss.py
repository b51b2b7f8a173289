"""Losses against the mean of the batches around them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.scoring import Outputs, output_scores
from sadp_dist.scoring.window_loss import LossWindow

batches = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=5), min_size=1, max_size=8)


def scores_of(window: LossWindow, losses: Sequence[float]) -> list[float]:
    found, coefficients = torch.tensor(losses, dtype=torch.float32), torch.ones(len(losses))
    outputs = Outputs(torch.zeros(1), torch.zeros(1), found, coefficients, window.add(found, coefficients))
    return output_scores("window-loss", outputs).tolist()


@settings(max_examples=80)
@given(batches, st.integers(1, 4))
def test_each_loss_is_compared_with_the_mean_of_the_latest_batches(losses, size):
    window = LossWindow(size)
    for number, batch in enumerate(losses):
        latest = [loss for some in losses[max(number + 1 - size, 0) : number + 1] for loss in some]
        expected = [float(loss * len(latest) >= sum(latest)) for loss in batch]
        assert scores_of(window, batch) == expected
    window.clear()
    assert scores_of(window, [3.0, 1.0]) == [1, 0]


def test_fills_are_in_no_mean_and_have_no_score():
    window = LossWindow(2)
    losses, coefficients = torch.tensor([1.0, 3.0, 900.0]), torch.tensor([0.5, 0.5, 0.0])
    sums = window.add(losses, coefficients)
    assert sums.tolist() == [4, 2]
    scores = output_scores("window-loss", Outputs(torch.zeros(1), torch.zeros(1), losses, coefficients, sums))
    assert scores.tolist()[:2] == [0, 1]
    assert scores[2].isnan()
    assert window.add(torch.tensor([8.0]), torch.tensor([1.0])).tolist() == pytest.approx([12, 3])
