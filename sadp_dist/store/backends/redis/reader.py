"""Questions to a run in Redis, answered from what its log says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sadp_dist.store.backends.redis.lease import holder
from sadp_dist.store.backends.redis.log import Replica
from sadp_dist.store.backends.redis.server import Server
from sadp_dist.store.engine.service import Service
from sadp_dist.store.wire.snapshot import Snapshot


class Reader:
    """Reads the log up to its end for each answer. It follows a run through whatever becomes of it.

    Args:
        server: where the run is; `close` closes it.
        run: its name.
    """

    def __init__(self, server: Server, run: str) -> None:
        self._server, self._replica = server, Replica(server, run)

    @property
    def raw(self) -> bytes | None:
        """The run's meta as of the latest answer."""
        return self._replica.raw

    def query(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Return the engine's answer to a query."""
        service = self._up_to_date()
        assert self._replica.meta is not None
        with self._server.faults():
            planner = holder(self._server.redis.get(self._replica.keys.lease))
        return service.answer(name, arguments, planner, self._replica.meta.saved)

    def snapshot(self) -> Snapshot:
        """The run's whole state."""
        return self._up_to_date().snapshot()

    def close(self) -> None:
        self._server.close()

    def _up_to_date(self) -> Service:
        with self._server.faults():
            self._replica.follow()
        self._replica.ready.clear()  # shards are the planner's business
        assert self._replica.service is not None
        return self._replica.service
