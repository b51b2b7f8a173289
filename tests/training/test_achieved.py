"""The end of a run says what was left out, what was asked for, and why these differ."""

from __future__ import annotations

import pytest
from rich.console import Console

from sadp_dist import PruningConfig
from sadp_dist.training.achieved import ratios, ratios_in_words
from sadp_dist.training.progress import Progress


def trained_on(pruning, N):
    """How many examples a run trains on that keeps to its schedule."""
    return sum(round((1 - pruning.rule.ratio(epoch)) * N) for epoch in range(pruning.rule.epochs))


@pytest.mark.parametrize(
    ("pruning", "N", "extra", "said"),
    [
        (
            {"max_ratio": 0.7, "epochs": 200, "schedule": "paper"},
            1000,
            0,
            "asked for 50.0%: the mean of Eq. 42 as written is r + ",
        ),
        (
            {"max_ratio": 0.7, "epochs": 2, "schedule": "paper"},
            1000,
            0,
            "left out 60.0% of all examples of all epochs, asked for 50.0%: the mean of Eq. 42 as written is "
            "r + (r_max - r) / K = 60.0% for K = 2",
        ),
        ({"epochs": 4}, 1000, 0, "asked for 50.0%"),
        ({"epochs": 4, "max_ratio": 0.8}, 1000, 0, "asked for 50.0%"),
        ({"epochs": 4, "ratio": 0.3}, 5, 0, "asked for 30.0%: S is rounded to whole examples of N = 5"),
        (
            {"epochs": 7, "method": "reduced-epoch"},
            1000,
            0,
            "asked for 50.0%: (1 - r) K = 3.5 epochs are rounded to 4",
        ),
        (
            {"epochs": 4, "method": "infobatch", "ratio": 0.8},
            1000,
            0,
            "asked for 80.0%: the mean of the schedule of method='infobatch' is 50.0% for K = 4",
        ),
        (
            {"epochs": 16, "method": "infobatch"},
            1000,
            900,
            "asked for 50.0%: method='infobatch' decides by the scores how many examples it leaves out",
        ),
        (
            {"epochs": 4, "scheme": "bernoulli"},
            1000,
            50,
            ": scheme='bernoulli' draws a random number",
        ),
    ],
)
def test_a_difference_from_the_ratio_asked_for_has_its_reason(pruning, N, extra, said):
    config = PruningConfig(**{"ratio": 0.5, **pruning})
    words = ratios_in_words(ratios(config, {"examples": trained_on(config, N) + extra}, N))
    assert said in words
    if said == "asked for 50.0%":
        assert words.endswith(said)


def test_a_run_that_was_extended_says_so():
    config = PruningConfig(ratio=0.5, max_ratio=0.9, epochs=40)
    longer = PruningConfig(ratio=0.5, max_ratio=0.9, epochs=80)
    examples = trained_on(config, 1000) + sum(round((1 - longer.rule.ratio(k)) * 1000) for k in range(40, 80))
    words = ratios_in_words(ratios(longer, {"examples": examples, "extended_from": 40}, 1000))
    assert words.endswith("the first epochs had the schedule of a run of 40 epochs, before --extend")


def test_a_clear_difference_from_the_schedule_is_a_warning(capsys):
    progress = Progress("run", 4, console=Console(width=200))
    config = PruningConfig(ratio=0.5, epochs=16, method="infobatch")
    for extra in (0, 4000):
        progress.run_done(ratios(config, {"examples": trained_on(config, 1000) + extra}, 1000))
    as_asked, other = capsys.readouterr().out.splitlines()
    assert as_asked == "left out 50.0% of all examples of all epochs, asked for 50.0%"
    assert other.startswith("warning: left out 25.0% of all examples of all epochs, asked for 50.0%: method")
