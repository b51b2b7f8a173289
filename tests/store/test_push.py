"""Pushing scores: what is refused leaves no trace, what is stored depends on neither order nor repeats."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig
from sadp_dist.store import Store, connect

N = 12


def new_store(dataset_size: int = N, **pruning) -> Store:
    return connect("memory:", "test", dataset_size, PruningConfig(**{"ratio": 0.5, "epochs": 10, **pruning}))


def all_scores(store: Store, dataset_size: int = N) -> np.ndarray:
    return store.scores(np.arange(dataset_size))


REFUSED = {
    "NaN": ([1, 2, 3], [0.5, float("nan"), 0.5], r"scores\[1\]=nan of example 2, epoch=4"),
    "infinite": ([1, 2], [0.5, float("inf")], r"scores\[1\]=inf of example 2"),
    "negative": ([1, 2], [-0.25, 0.5], r"scores\[0\]=-0.25 of example 1"),
    "beyond float32": ([1, 2], [0.5, 1e39], r"scores\[1\]=1e\+39 of example 2"),
    "index N": ([1, N], [0.5, 0.5], r"indices\[1\]=12 is outside the data set's 0\.\.11"),
    "index -1": ([-1, 1], [0.5, 0.5], r"indices\[0\]=-1 is outside"),
    "index 2^64 - 1": (
        np.array([2**64 - 1], np.uint64),
        [0.5],
        r"indices\[0\]=18446744073709551615 is outside",
    ),
    "lengths": ([1, 2, 3], [0.5, 0.5], "3 indices and 2 scores"),
    "float indices": ([1.0, 2.0], [0.5, 0.5], "indices have dtype float64: integers"),
    "bool indices": ([True, False], [0.5, 0.5], "indices have dtype bool: integers"),
    "bool scores": ([1, 2], [True, False], "scores have dtype bool: real numbers"),
    "complex scores": ([1], [1 + 1j], "scores have dtype complex128: real numbers"),
    "words": ([1], ["high"], "scores have dtype <U4: real numbers"),
    "2-d": ([[1, 2]], [[0.5, 0.5]], r"indices have shape \(1, 2\)"),
    "2-d scores": ([1, 2], [[0.5, 0.5]], r"scores have shape \(1, 2\)"),
    "scalars": (1, 0.5, r"indices have shape \(\)"),
    "sparse tensor": (torch.tensor([1]), torch.ones(1).to_sparse(), "scores are a torch.sparse_coo tensor"),
    "tensor without data": (
        torch.tensor([1]),
        torch.ones(1, device="meta"),
        "scores are a .* tensor on meta",
    ),
    "sparse indices": (torch.tensor([1]).to_sparse(), torch.ones(1), "indices are a torch.sparse_coo tensor"),
    "indices without data": (
        torch.ones(1, dtype=torch.int64, device="meta"),
        torch.ones(1),
        "indices are a .* tensor on meta",
    ),
}


@pytest.mark.parametrize("indices, scores, message", REFUSED.values(), ids=REFUSED)
def test_a_bad_push_is_refused_in_one_line_and_nothing_of_it_is_stored(indices, scores, message):
    store = new_store()
    store.push([1, 5], [2.0, 3.0], epoch=1)
    before = all_scores(store)
    with pytest.raises(UsageError, match=message) as refusal:
        store.push(indices, scores, epoch=4)
    assert "\n" not in str(refusal.value)
    np.testing.assert_array_equal(all_scores(store), before)
    stats = store.stats()
    assert (stats.pushes, stats.pushed_scores, stats.rejected_pushes) == (1, 2, 1)


@pytest.mark.parametrize("epoch", [-1, 1.0, True, "0", None, 2**31])
def test_an_epoch_is_an_integer_from_zero(epoch):
    store = new_store()
    with pytest.raises(UsageError, match=r"epoch=.* is not an epoch"):
        store.push([1], [1.0], epoch=epoch)
    assert store.stats().seen == 0


@pytest.mark.parametrize(
    "valid, message",
    [
        ([True], r"valid is bool of shape \(1,\): bool of shape \(2,\)"),
        ([1, 0], "valid is int64 of shape"),
        (torch.ones(3, dtype=torch.bool), r"valid is bool of shape \(3,\)"),
        (torch.ones(2, dtype=torch.bool).to_sparse(), "valid are a torch.sparse_coo tensor on cpu"),
        (torch.ones(2, dtype=torch.bool, device="meta"), "valid are a torch.strided tensor on meta"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(valid, message):
    store = new_store()
    with pytest.raises(UsageError, match=message):
        store.push([1, 2], [1.0, 2.0], epoch=0, valid=valid)
    assert store.stats().seen == 0


def test_rows_masked_out_are_not_looked_at():
    store = new_store()
    scores = torch.tensor([1.0, float("nan"), 3.0])
    store.push(torch.tensor([4, 5, 6]), scores, epoch=0, valid=torch.tensor([True, False, True]))
    np.testing.assert_array_equal(store.scores([4, 5, 6]), np.array([1, np.nan, 3], np.float32))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("index_dtype", [torch.uint8, torch.int32, torch.int64])
def test_tensors_of_any_floating_and_integer_dtype_are_taken(dtype, index_dtype):
    store = new_store()
    scores = torch.tensor([0.5, 2.0, 1024.0], dtype=dtype, requires_grad=True)  # exact in each of them
    store.push(torch.tensor([0, 3, 11], dtype=index_dtype), scores, epoch=0)
    np.testing.assert_array_equal(store.scores([0, 3, 11, 1]), np.array([0.5, 2, 1024, np.nan], np.float32))


def test_strided_arrays_and_an_empty_push_are_taken():
    store = new_store()
    store.push(np.arange(N)[::3], torch.arange(8.0)[::2], epoch=0)
    store.push([], [], epoch=0)
    np.testing.assert_array_equal(store.scores([0, 3, 6, 9]), np.array([0, 2, 4, 6], np.float32))


def test_a_later_epoch_replaces_a_score_and_an_earlier_one_does_not():
    store = new_store()
    store.push([0, 1], [5.0, 5.0], epoch=3)
    store.push([0], [1.0], epoch=4)
    store.push([1], [9.0], epoch=2)
    np.testing.assert_array_equal(store.scores([0, 1]), np.array([1, 5], np.float32))


pushes = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.lists(st.tuples(st.integers(0, N - 1), st.floats(0, width=32, allow_infinity=False)), max_size=8),
    ),
    min_size=1,
    max_size=8,
)


def state_after(sequence) -> tuple[bytes, list[int], bytes]:
    store = new_store()
    for epoch, rows in sequence:
        store.push([index for index, _ in rows], np.array([score for _, score in rows], np.float32), epoch)
    shard = store.plan(5)
    return all_scores(store).tobytes(), shard.indices.tolist(), shard.weights.tobytes()


@settings(max_examples=150)
@given(st.data(), pushes)
def test_neither_the_order_of_pushes_nor_repeats_change_scores_or_plan(data, sequence):
    repeats = data.draw(st.lists(st.sampled_from(sequence), max_size=4))
    shuffled = data.draw(st.permutations(sequence + repeats))
    assert state_after(shuffled) == state_after(sequence)


@settings(max_examples=100)
@given(pushes)
def test_an_example_has_the_largest_score_of_its_latest_epoch(sequence):
    latest: dict[int, tuple[int, float]] = {}
    for epoch, rows in sequence:
        for index, score in rows:
            latest[index] = max(latest.get(index, (-1, 0.0)), (epoch, score))
    expected = np.array([latest.get(index, (0, np.nan))[1] for index in range(N)], np.float32)
    np.testing.assert_array_equal(np.frombuffer(state_after(sequence)[0], np.float32), expected)
