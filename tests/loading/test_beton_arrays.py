"""Arrays in a .beton come out of both loaders as they went in, in any order, from the cache or by pages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sadp_dist.errors import UsageError
from sadp_dist.loading import PageOrder, PruningSampler, SequentialShard, TorchLoader

pytest.importorskip("ffcv")

import sadp_dist
from sadp_dist.loading import (
    BetonArrays,
    FFCVLoader,
    beton_fields,
    beton_image_sizes,
    beton_labels,
    beton_pages,
    beton_shape,
    beton_size,
    write_arrays,
)

N, SHAPE = 250, (3, 2, 5, 7)


def arrays(dtype, shape=SHAPE, size=N):
    """Examples that all differ, each with its label."""
    values = np.random.default_rng(0).integers(0, 200, (size, *shape))
    return [
        ((x / 8 if np.dtype(dtype).kind == "f" else x).astype(dtype), i % 7) for i, x in enumerate(values)
    ]


@pytest.fixture(scope="module")
def frames():
    return arrays(np.uint8)


@pytest.fixture(scope="module")
def beton(frames, tmp_path_factory):
    path = tmp_path_factory.mktemp("arrays") / "frames.beton"
    assert write_arrays(frames, path, workers=2) == N
    return path


@pytest.fixture
def store():
    pruning = sadp_dist.PruningConfig(ratio=0.5, epochs=4, min_probability=0.1, seed=3)
    store = sadp_dist.connect("memory:", run="frames", dataset_size=N, pruning=pruning)
    store.push(np.arange(N), np.linspace(0.1, 5.0, N, dtype=np.float32), epoch=0)
    yield store
    store.close()


def matches(batches, frames):
    """Every batch has the frames and labels of its indices; returns the indices in order."""
    seen = []
    for inputs, labels, index, weight in batches:
        assert inputs.is_contiguous() and len(inputs) == len(labels) == len(index) == len(weight)
        np.testing.assert_array_equal(inputs.numpy(), np.stack([frames[i][0] for i in index]))
        assert labels.tolist() == [frames[i][1] for i in index]
        seen += index.tolist()
    return seen


def test_its_metadata_is_read_without_its_arrays(beton, frames):
    assert beton_fields(beton) == {"frames": "NDArrayField", "label": "IntField", "index": "IntField"}
    assert (beton_size(beton), beton_shape(beton)) == (N, SHAPE)
    assert beton_labels(beton).tolist() == [label for _, label in frames]
    with pytest.raises(UsageError, match="has no field 'image', only frames, label, index"):
        beton_image_sizes(beton)


def test_a_file_of_images_has_no_shape(digits_beton):
    assert beton_shape(digits_beton) is None
    with pytest.raises(UsageError, match="has no field 'frames'"):
        BetonArrays(digits_beton)


def test_an_epoch_of_any_size_gives_the_arrays_asked_for_without_a_copy(beton, frames, store, monkeypatch):
    monkeypatch.setattr("sadp_dist.loading.epoch_reader._copy", None)
    sampler = PruningSampler(store, batch_size=32, rank=0, world_size=1)
    loader = FFCVLoader(beton, sampler)
    for epoch in (0, 1, 3):
        sampler.set_epoch(epoch)
        batches = list(loader)  # kept: no batch may be written over by a later one
        assert matches(batches, frames) == sampler.indices.tolist()
        assert torch.cat([weight for *_, weight in batches]).tolist() == sampler.position_weights.tolist()


def test_page_by_page_gives_the_same_arrays(beton, frames, store):
    order = PageOrder(beton_pages(beton), window=2)
    sampler = PruningSampler(store, batch_size=32, rank=0, world_size=1, page_order=order)
    loader = FFCVLoader(beton, sampler, os_cache=False)
    sampler.set_epoch(1)
    assert matches(loader, frames) == sampler.indices.tolist()


def test_the_torch_loader_gives_the_same_batches_from_the_source_and_from_the_file(beton, frames, store):
    for dataset in (frames, BetonArrays(beton)):
        sampler = PruningSampler(store, batch_size=32, rank=0, world_size=1)
        sampler.set_epoch(1)
        assert matches(TorchLoader(dataset, sampler), frames) == sampler.indices.tolist()


@pytest.mark.parametrize(
    ("dtype", "shape"), [("float16", (10, 2, 4, 4)), ("float32", (6, 40)), ("int16", (9,))]
)
def test_a_dtype_and_a_shape_stay_what_they_are(tmp_path, dtype, shape):
    source = arrays(dtype, shape, size=20)
    write_arrays(source, tmp_path / "out.beton", workers=1)
    (batch, *_), *_ = FFCVLoader(tmp_path / "out.beton", SequentialShard(20, 32, 0, 1))
    assert batch.dtype == getattr(torch, dtype) and batch.shape == (20, *shape)
    np.testing.assert_array_equal(batch.numpy(), np.stack([x for x, _ in source]))
    assert beton_shape(tmp_path / "out.beton") == shape


def test_what_is_done_to_images_is_refused(beton):
    sequential = SequentialShard(N, 32, 0, 1)
    with pytest.raises(UsageError, match=r"^image_size=48: .* has arrays, which are not resized"):
        FFCVLoader(beton, sequential, image_size=48)
    with pytest.raises(UsageError, match="^pipelines: field 'image' is not allowed; must be 'frames' or"):
        FFCVLoader(beton, sequential, pipelines={"image": []})


def test_a_file_cut_short_is_refused(beton, tmp_path):
    whole = beton.read_bytes()
    cut = tmp_path / "cut.beton"
    for kept in (2000, len(whole) // 2, len(whole) - 24):
        cut.write_bytes(whole[:kept])
        with pytest.raises(UsageError, match=r"is truncated|is not a \.beton"):
            beton_shape(cut)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "^source: has no arrays$"),
        ([(np.zeros(3), 0)], "^source: array 0 has the dtype float64; must be one of uint8, .*float32$"),
        ([(np.zeros((2, 0), np.uint8), 0)], r"^source: array 0 has the shape \(2, 0\)"),
        ([(np.zeros((9 << 20,), np.uint8), 0)], "takes 9.0 MiB; at most 8 MiB are allowed: use fewer time"),
        (
            [(np.zeros((2, 3), np.uint8), 0), (np.zeros((2, 4), np.uint8), 0)],
            r"^source: array 1 is uint8 \(2, 4\), the first array is uint8 \(2, 3\); all must have",
        ),
    ],
)
def test_arrays_that_cannot_be_stored_are_one_line_and_leave_nothing(tmp_path, source, message):
    with pytest.raises(UsageError, match=message):
        write_arrays(source, tmp_path / "out.beton", workers=1)
    assert list(tmp_path.iterdir()) == []
