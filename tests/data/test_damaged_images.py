"""Damaged images are found in parallel, named with their paths, and left out on request."""

from __future__ import annotations

import pytest

from sadp_dist.data import DamagedImage, damaged_error, find_damaged, open_images
from sadp_dist.loading import SequentialShard, TorchLoader
from tests.data.image_trees import encoded, write_tree, zip_tree
from tests.data.test_images import as_parquet

TREE = {
    **dict.fromkeys([f"a/{i:03}.png" for i in range(150)]),
    **{"a/070.png": encoded()[:-30], "a/140.png": b"text", "b/0.png": None, "b/1.png": encoded()[:40]},
}
DAMAGED = {70: "a/070.png", 140: "a/140.png", 151: "b/1.png"}


@pytest.fixture(scope="module", params=["folder", "zip", "parquet"])
def images(request, tmp_path_factory):
    root = write_tree(tmp_path_factory.mktemp("damaged") / "source", TREE)
    if request.param == "zip":
        root = zip_tree(root, root.with_suffix(".zip"))
    elif request.param == "parquet":
        root = as_parquet(open_images(root), root.with_suffix(".parquet"), row_group_size=60)
    return open_images(root)


def test_all_are_found_with_their_reasons_and_leave_the_others_as_they_were(images):
    counts = []
    found = find_damaged(images, workers=2, progress=counts.append)
    assert list(found) == list(DAMAGED) and sum(counts) == 152
    assert found[140] == images.damage(140) == "damaged, or a format that Pillow does not know"
    assert images.damage(0) is None
    whole = images.without(found)
    assert len(whole) == 149 and find_damaged(whole, workers=1) == {}
    assert whole.left_out == {"damaged image": [images.paths[index] for index in found]}
    assert whole.encoded(148) == images.encoded(150)
    assert whole.labels.tolist() == [0] * 148 + [1]
    assert len(images) == 152 and images.left_out == {}


def test_the_search_stops_when_enough_are_found(images):
    assert list(find_damaged(images, workers=2, most=1)) == [70]


def test_the_first_few_are_named_in_one_line(images):
    found = find_damaged(images, workers=2)
    message = str(damaged_error(images, found))
    assert message.startswith(f"{images.name}: images {images.paths[70]} (")
    assert message.endswith(" cannot be read; replace or remove them")
    more = damaged_error(images, {**found, 3: "x", 4: "y"})
    assert f"{images.paths[151]} ({found[151]}) and 2 more cannot be read" in str(more)
    assert "\n" not in message and "0x" not in message


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_names_the_file_also_from_a_worker(images, workers):
    loader = TorchLoader(images, SequentialShard(len(images), 64, 0, 1), num_workers=workers)
    with pytest.raises(DamagedImage) as refused:
        list(loader)
    reason = images.damage(70)
    assert str(refused.value) == (
        f"{images.name}: image {images.paths[70]} cannot be read ({reason}); replace or remove it"
    )
