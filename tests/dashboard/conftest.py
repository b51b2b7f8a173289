"""What the dashboard's tests share: a Redis with runs, and the images that they train on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sadp_dist.data import ImageSource, open_images
from sadp_dist.store import Store
from tests.dashboard.process import Dashboard, train
from tests.store.redis_server import RedisServer


@pytest.fixture(scope="module")
def images(digits: Path) -> ImageSource:
    return open_images(digits, "train")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def training(server: RedisServer, images: ImageSource) -> Iterator[Store]:
    """The store of the run "digits", which has trained three epochs and goes on."""
    with train(server.url, "digits", images.labels) as store:
        yield store


@pytest.fixture(scope="module")
def dashboard(server: RedisServer, training: Store, digits: Path) -> Iterator[Dashboard]:
    """Of that Redis, with the images, for everybody on this machine."""
    with Dashboard(server.url, "--images", digits, "--split", "train") as dashboard:
        yield dashboard
