"""Runs in a Redis server: the ranks write a log, a planner reads it and publishes shards."""

from __future__ import annotations

try:
    import redis  # noqa: F401
except ImportError as error:
    from sadp_dist.errors import MissingExtra

    raise MissingExtra("redis", "redis") from error

from sadp_dist.store.backends.redis.backend import attach, connect, list_runs, remove_run

__all__ = ["attach", "connect", "list_runs", "remove_run"]
