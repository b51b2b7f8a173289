"""Plans by InfoBatch, SeTa and RCAP are those that their authors' own code makes of the same losses.

`peer_references.npz` has what that code did; `peer_references.py` says how to make it anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sadp_dist.selection import PruningConfig, plan_epoch
from sadp_dist.selection.plan import epoch_probabilities
from tests.selection.peer_references import ANNEALED, DRAWS, FILE, GROUPS, SETA_EPOCHS


@pytest.fixture(scope="module")
def theirs() -> Mapping[str, NDArray[Any]]:
    with np.load(FILE) as file:
        return dict(file)


def within_five_deviations(often: NDArray[Any], draws: int, p: NDArray[Any] | float) -> bool:
    """Whether examples were drawn as often as a probability says."""
    return bool((abs(often - draws * p) <= 5 * np.sqrt(draws * p * (1 - np.asarray(p)))).all())


def test_the_file_says_what_it_was_made_from(theirs) -> None:
    made_from = dict(word.split("=") for word in str(theirs["made_from"]).split())
    assert set(made_from) == {"InfoBatch", "SeTa", "datacull"}
    assert all(made_from.values())


def test_infobatch_keeps_as_many_as_often_and_with_the_same_weights(theirs) -> None:
    losses = theirs["infobatch_losses"]
    often, weights = np.zeros(1000), np.zeros(1000)
    for epoch in range(DRAWS):
        rule = PruningConfig(method="infobatch", keep_probability=0.5, epochs=2 * DRAWS)
        plan = plan_epoch(losses, epoch, rule)
        assert abs(plan.drawn - theirs["infobatch_sizes"][epoch]) <= 1
        often[plan.indices] += 1
        weights[plan.indices] = plan.weights
    sure = theirs["infobatch_often"] == DRAWS
    assert 0 < sure.sum() < 1000
    np.testing.assert_array_equal(often == DRAWS, sure)
    for seen in (often, theirs["infobatch_often"]):
        assert within_five_deviations(seen[~sure], DRAWS, 0.5)
    np.testing.assert_allclose(weights, theirs["infobatch_weights"], rtol=1e-6)


@pytest.mark.parametrize("epochs", ANNEALED)
def test_the_last_epochs_of_infobatch_have_all_data(theirs, epochs: int) -> None:
    expected = theirs[f"infobatch_sizes_of_{epochs}_epochs"]
    rule = PruningConfig(method="infobatch", keep_probability=0.5, epochs=epochs)
    found = [plan_epoch(theirs["infobatch_losses"], epoch, rule).drawn for epoch in range(epochs)]
    assert (abs(expected - found) <= 1).all()
    assert expected[-1] == 1000


def test_seta_draws_as_many_from_the_same_groups(theirs) -> None:
    losses, groups = theirs["seta_losses"], theirs["seta_groups"]
    often = np.zeros(1000)
    for epoch in range(SETA_EPOCHS):
        rule = PruningConfig(method="seta", keep_probability=0.8, epochs=SETA_EPOCHS, window_scale=0.6)
        plan = plan_epoch(losses, epoch, rule)
        window = theirs["seta_windows"][epoch]
        np.testing.assert_array_equal(np.isin(np.arange(GROUPS), groups[plan.indices]), window)
        inside = np.count_nonzero(window[groups])
        assert plan.drawn == round(0.8 * inside)
        assert within_five_deviations(theirs["seta_sizes"][epoch], inside, 0.8)  # theirs varies
        often[plan.indices] += 1
    for group in range(GROUPS):
        of_group = groups == group
        assert often[of_group].mean() == pytest.approx(theirs["seta_often"][of_group].mean(), rel=0.03)


def rcap_probabilities(losses: NDArray[Any], labels: NDArray[Any], kept: int) -> NDArray[np.float64]:
    rule = PruningConfig(method="rcap", ratio=1 - kept / len(losses), temperature=0.5)
    return epoch_probabilities(losses, 0, rule, labels)


def test_rcap_divides_among_classes_alike_before_there_are_losses(theirs) -> None:
    labels = theirs["rcap_labels"]
    p = rcap_probabilities(np.full(1000, np.nan, np.float32), labels, 200)
    expected = np.bincount(labels, weights=p)
    np.testing.assert_array_equal(np.ceil(expected - 1e-9), theirs["rcap_kept_at_first"])  # they round up


def test_rcap_draws_in_proportion_to_their_importance_within_a_class(theirs) -> None:
    labels = theirs["rcap_labels"]
    p = rcap_probabilities(theirs["rcap_losses"], labels, 50)
    assert p.max() < 1
    for c in range(4):
        of_class = p[labels == c]
        np.testing.assert_allclose(
            of_class / of_class.sum(), theirs["rcap_importance"][labels == c], rtol=0.02
        )
