"""A store elsewhere under torch.distributed: what real processes do together, and where that goes wrong."""

import numpy as np
import pytest

from sadp_dist.selection import PruningConfig, plan_epoch
from tests.store.redis_server import RedisServer
from tests.store.test_shared import run_job, weight_of_each

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="module", params=[1, 3])
def ranks(request, tmp_path_factory, url) -> list[dict]:
    database = url[:-1] + str(request.param)
    return run_job("same_plans", tmp_path_factory.mktemp("world") / "job", request.param, url=database)


def test_any_rank_loads_and_goes_on_with_the_plans_of_the_scores_that_were_saved(ranks):
    pruning = PruningConfig(ratio=0.4, max_ratio=0.6, epochs=5, min_probability=0.1, seed=2)
    for number, epoch in ((1, 0), (2, 1), (4, 2)):  # the last after saving, closing and loading
        scores = np.random.default_rng(epoch).lognormal(size=103).astype(np.float32)
        plan = plan_epoch(scores, epoch + 1, pruning)
        expected = dict(zip(plan.indices.tolist(), plan.weights.tolist(), strict=True))
        assert weight_of_each(ranks, number) == expected
    for seen in ranks:
        assert seen["shards"][3] == seen["shards"][2]


def test_what_was_saved_and_loaded_is_counted_once(ranks):
    expected = np.random.default_rng(2).lognormal(size=103).astype(np.float32)
    assert ranks[0]["scores"] == expected.tolist()
    assert ranks[0]["stats"]["pushed_scores"] == 3 * 103
    assert ranks[0]["stats"]["rejected_pushes"] == 0


@pytest.fixture(scope="module")
def together(tmp_path_factory, url) -> list[dict]:
    return run_job("together", tmp_path_factory.mktemp("together") / "job", 2, url=url[:-1] + "4")


@pytest.mark.parametrize(
    "fault, message",
    [
        ("a push found bad late", "rank 1: a push before this call was refused: scores[0]=nan of example 3"),
        ("two calls", "the ranks called different things at the same time: rank 0 save(), rank 1 flush()"),
        ("nowhere to save", "rank 0: path="),
        ("not a store", "text.npz' is not a saved store"),
        ("another dataset", "is a different run: dataset_size=103 (here 104)"),
        ("a bad argument", "rank 1: dataset_size=0 is not an integer of 1 or more"),
    ],
)
def test_what_goes_wrong_on_one_rank_is_the_same_line_on_all(together, fault, message):
    lines = {seen[fault] for seen in together}
    assert len(lines) == 1
    assert message in next(iter(lines))
    assert "\n" not in next(iter(lines))


def test_after_every_refusal_the_store_is_as_it_was_on_every_rank(together):
    for seen in together:
        assert seen["same plan after it all"]
        assert seen["never saved"]
        assert seen["groups left"] == 0
        assert seen["seen"] == 103


def test_a_run_that_begins_anew_has_nothing_of_before_not_even_what_was_on_its_way(together):
    for seen in together:
        assert seen["seen after reset"] == 0
        assert seen["same plan anew"]
        assert seen["bad frames"] == {}


def test_a_store_connected_before_the_job_was_joined_says_so(tmp_path, url):
    for seen in run_job("early", tmp_path / "job", 2, url=url[:-1] + "5"):
        assert len(seen) == 5
        assert set(seen.values()) == {
            "this store was connected before init_process_group(): connect after it, on every rank"
        }
