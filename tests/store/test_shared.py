"""The embedded store under torch.distributed, with real processes: one store for all, one error for all."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sadp_dist.selection import PruningConfig, plan_epoch
from tests.forked import Forked, run_ranks

RANK_PROGRAM = Path(__file__).with_name("rank.py")
pytestmark = pytest.mark.slow


def run_job(
    scenario: str, folder: Path, world_size: int, lost: tuple[int, ...] = (), url: str = "memory:"
) -> list[dict]:
    """What each rank saw, by rank; None for a lost one."""
    folder.mkdir()
    job = {**os.environ, "WORLD_SIZE": str(world_size), "OMP_NUM_THREADS": "1"}
    processes = [
        Forked([RANK_PROGRAM, scenario, folder, url], env={**job, "RANK": str(rank)}, stderr=subprocess.PIPE)
        for rank in range(world_size)
    ]
    try:
        for process in processes:
            process.wait(timeout=240)
    except subprocess.TimeoutExpired:  # one that ended has more to say than those that wait for it
        pass
    ended = [process.poll() for process in processes]
    for process in processes:
        process.kill()
    errors = [process.stderr.read() for process in processes]
    for rank, status in enumerate(ended):
        assert (status == 0) != (rank in lost), (ended, errors)
    files = [folder / f"{scenario}-{rank}.json" for rank in range(world_size)]
    return [json.loads(file.read_text()) if file.exists() else None for file in files]


@pytest.fixture(scope="module")
def by_world_size(tmp_path_factory) -> dict[int, list[dict]]:
    folder = tmp_path_factory.mktemp("worlds")
    return {size: run_job("same_plans", folder / str(size), size) for size in (1, 2, 4)}


def weight_of_each(ranks: list[dict], number: int) -> dict[int, float]:
    """Example -> weight in a plan, over all ranks; the fill left out."""
    shards = [seen["shards"][number] for seen in ranks]
    rows = [
        row for shard in shards for row in zip(shard["indices"], shard["weights"], strict=True) if row[1] > 0
    ]
    assert len(dict(rows)) == len(rows)  # no example twice
    assert {shard["drawn"] for shard in shards} == {len(rows)}
    return dict(rows)


@pytest.mark.parametrize("number", range(5))
def test_world_sizes_1_2_and_4_get_the_same_examples_and_weights(by_world_size, number):
    alone = weight_of_each(by_world_size[1], number)
    assert alone
    for ranks in by_world_size.values():
        assert weight_of_each(ranks, number) == alone
        assert len({len(seen["shards"][number]["indices"]) for seen in ranks}) == 1


def test_the_plans_are_those_of_the_scores_whichever_rank_pushed_them(by_world_size):
    pruning = PruningConfig(ratio=0.4, max_ratio=0.6, epochs=5, min_probability=0.1, seed=2)
    for epoch in (0, 1, 2):
        scores = np.random.default_rng(epoch).lognormal(size=103).astype(np.float32)
        plan = plan_epoch(scores, epoch + 1, pruning)
        number = epoch + 1 if epoch < 2 else 4
        expected = dict(zip(plan.indices.tolist(), plan.weights.tolist(), strict=True))
        assert weight_of_each(by_world_size[4], number) == expected


def test_a_job_goes_on_from_a_save_in_the_middle_of_an_epoch(by_world_size):
    for ranks in by_world_size.values():
        for seen in ranks:
            assert seen["shards"][3] == seen["shards"][2]  # epoch 2 before and after


def test_rank_zero_answers_for_all_ranks(by_world_size):
    expected = np.random.default_rng(2).lognormal(size=103).astype(np.float32)
    for ranks in by_world_size.values():
        assert ranks[0]["scores"] == expected.tolist()
        assert ranks[0]["top"] == np.argsort(-expected)[:3].tolist()
        assert ranks[0]["stats"]["pushed_scores"] == 3 * 103
        assert ranks[0]["stats"]["rejected_pushes"] == 0
    assert by_world_size[4][0]["stats"]["pushes"] == 3 * 4 * 4  # epochs, ranks, batches


def test_the_history_is_the_same_for_every_world_size(by_world_size):
    alone = by_world_size[1][0]
    assert [record["epoch"] for record in alone["history"]] == [0, 1, 2, 3]
    assert [record["training"] for record in alone["history"]] == [{"loss": 1.0}, {"loss": 0.5}, {}, {}]
    assert len(alone["changed"][0]) == 103
    for ranks in by_world_size.values():
        assert (ranks[0]["history"], ranks[0]["changed"]) == (alone["history"], alone["changed"])


@pytest.fixture(scope="module")
def refusals(tmp_path_factory) -> list[dict]:
    return run_job("refusals", tmp_path_factory.mktemp("refusals") / "job", 2)


@pytest.mark.parametrize(
    "fault, message",
    [
        ("rank out of range", "rank 1: rank=2 is not an integer in 0..1, as world_size=2 asks"),
        ("epoch out of range", "rank 1: epoch=5 is not an epoch of this run: 0..4 (pruning.epochs=5)"),
        (
            "two epochs",
            "the ranks asked for plans of different epochs: rank 0 for epoch=1, rank 1 for epoch=2",
        ),
        ("two calls", "the ranks called different things at the same time: rank 0 save(), rank 1 flush()"),
        ("nowhere to save", "cannot be written: No such file or directory"),
        ("not a store", "text.npz' is not a saved store"),
        ("another configuration", "pruning.ratio=0.5 (here 0.4)"),
        ("another dataset", "rank 1 connects to another run than rank 0: dataset_size=104 (rank 0: 103)"),
        ("a bad argument", "rank 1: dataset_size=0 is not an integer of 1 or more"),
        ("a push found bad late", "rank 1: a push before this call was refused: scores[0]=nan of example 3"),
        ("a fault of ours", "rank 0: ZeroDivisionError: by nothing"),
    ],
)
def test_what_goes_wrong_on_one_rank_is_the_same_line_on_all(refusals, fault, message):
    lines = {seen[fault] for seen in refusals}
    assert len(lines) == 1
    line = lines.pop()
    assert message in line
    assert "\n" not in line


def test_a_bad_push_is_refused_on_the_rank_where_it_happens_and_counted_on_rank_zero(refusals):
    assert refusals[1]["bad push here"].startswith("indices[1]=103 is outside the data set's 0..102")
    assert refusals[0]["rejected_pushes"] == 2  # that one, and the one found late


def test_other_ranks_say_who_answers(refusals):
    assert refusals[1]["stats here"] == "stats() on rank 1: call it on rank 0, which has the embedded store"


def test_after_every_refusal_the_store_is_as_it_was(refusals):
    for seen in refusals:
        assert seen["same plan after it all"]
        assert seen["never saved"]


@pytest.fixture(scope="module")
def closing(tmp_path_factory) -> list[dict]:
    return run_job("closing", tmp_path_factory.mktemp("closing") / "job", 2)


def test_rank_zero_answers_with_its_own_pushes_also_those_still_on_the_device(closing):
    assert closing[0]["scores"] == [2.5, 4.5]
    assert (closing[0]["top"], closing[0]["seen"]) == ([4], 2)
    assert closing[0]["late"].startswith("a push before this call was refused: scores[0]=-1.0 of example 5")
    assert closing[0]["rejected"] == 1


def test_a_closed_store_leaves_no_process_group_and_is_not_used_again(closing):
    for seen in closing:
        assert seen["groups left"] == 0
        assert seen["flush after close"] == "this store is closed: connect() again, on every rank"


def test_when_a_rank_is_gone_the_others_stop_with_one_line_instead_of_waiting(tmp_path):
    first, gone, last = run_job("lost_rank", tmp_path / "job", 3, lost=(1,))
    assert gone is None
    for seen in (first, last):
        assert seen["error"].startswith(
            "another rank of this job is gone; see the output of the one that stopped"
        )
        assert "\n" not in seen["error"]


def test_a_job_may_end_right_after_its_stores_last_call(tmp_path):
    program = Path(__file__).with_name("ending_rank.py")
    done = run_ranks([program, tmp_path / "scores.npz"], 2)
    assert done.returncode == 0, done.stderr
