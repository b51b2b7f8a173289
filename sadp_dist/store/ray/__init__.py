"""A run in a Ray cluster: a named actor keeps its engine, wherever the cluster has room."""

from __future__ import annotations

try:
    import ray  # noqa: F401
except ImportError as error:
    from sadp_dist.errors import MissingExtra

    raise MissingExtra("ray", "ray") from error

from sadp_dist.store.ray.home import attach, connect, list_runs, remove_run

__all__ = ["attach", "connect", "list_runs", "remove_run"]
