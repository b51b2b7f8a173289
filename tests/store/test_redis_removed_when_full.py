"""A Redis that is out of memory gets it back by removing a run, as its message advises."""

import numpy as np
import pytest
from redis.exceptions import OutOfMemoryError

from sadp_dist import PruningConfig, connect
from sadp_dist.store import list_runs, remove_run
from tests.store.redis_server import RedisServer

N = 200_000


def test_a_run_is_removed_from_a_redis_without_memory(tmp_path):
    with RedisServer(tmp_path) as server:
        with connect(server.url, "job", N, PruningConfig(ratio=0.5, epochs=3)) as store:
            store.push(np.arange(N), np.ones(N), epoch=0)
            store.plan(0, 0, 1)
            store.flush()
        client = server.client()
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 100_000)
        with pytest.raises(OutOfMemoryError):
            client.set("more", "x")
        remove_run(server.url, "job")
        assert list_runs(server.url) == []
        client.set("more", "x")
