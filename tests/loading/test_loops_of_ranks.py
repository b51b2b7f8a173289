"""Mistakes in the loops of several ranks: refused by name, or said once, without a hang."""

from pathlib import Path

import pytest

from tests.forked import run_ranks

JOB = Path(__file__).with_name("loop_rank.py")


def lines_of(scenario: str) -> list[str]:
    done = run_ranks([JOB, scenario], 2)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def test_ranks_with_different_batch_sizes_are_refused_by_name():
    said = "the ranks have different values of batch_size: rank 0 batch_size=5, rank 1 batch_size=6"
    assert lines_of("batch_sizes") == [
        f"refused on rank {rank}: {said}; give every rank the same" for rank in (0, 1)
    ]


def test_the_rank_that_pushes_nothing_says_so_once():
    (line,) = lines_of("one_rank_pushes_nothing")
    assert line.startswith("rank 1 warns: epoch=0: the store got scores of 0 of the 10 examples that")


def test_one_rank_may_push_for_all():
    assert lines_of("rank_zero_pushes_for_all") == []


def test_a_loader_that_accelerate_splits_again_is_refused_with_the_call_that_works():
    pytest.importorskip("accelerate")
    first, second = lines_of("split_again")
    assert first.startswith("refused on rank 0: accelerator.prepare() splits this loader over the ranks")
    assert second.startswith("refused on rank 1: ")
    assert "prepare_data_loader(loader, accelerator.device, num_processes=1, process_index=0" in second


def test_that_call_trains_on_the_whole_share():
    pytest.importorskip("accelerate")
    assert lines_of("prepared_as_advised") == ["trained on 50"]  # without the last 10 of rank 1
