"""What a run is, and in what two of them differ."""

import pytest

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig
from sadp_dist.store import attach, remove_run
from sadp_dist.store.engine.run import Run, differences


def facts(**changed) -> dict:
    return {**Run("run", 10, PruningConfig(seed=1)).facts(), **changed}


def test_the_facts_in_which_runs_differ_are_named_with_both_values():
    assert differences(facts(), facts()) == ""
    theirs = facts(dataset_size=11, labels="crc32:00000000")  # labels that only one of them has are no matter
    assert differences(theirs, facts()) == "dataset_size=11 (here 10)"


def test_an_option_that_another_release_knows_alone_is_named_if_it_is_set():
    older, newer = facts(), facts(**{"pruning.mood": "grim"})
    assert differences(older, newer) == "pruning.mood=None (here 'grim')"
    assert differences(newer, older) == "pruning.mood='grim' (here None)"
    assert differences(older, facts(**{"pruning.mood": None})) == ""


@pytest.mark.parametrize("url", ["redis://localhost:1", "ray:auto"])
def test_a_name_that_is_none_is_refused_before_anybody_is_asked(url):
    for call in (attach, remove_run):
        for name in ("", "a\ud800"):
            with pytest.raises(UsageError, match=r"run=.* is not a name"):
                call(url, name)
