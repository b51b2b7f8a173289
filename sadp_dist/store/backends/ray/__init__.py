"""Runs in a Ray cluster: one actor keeps each run, on any node.

Actors need neither torch nor the rest of what a rank does, so that they are small, and soon back.
"""

from __future__ import annotations

try:
    import fsspec  # noqa: F401
    import ray  # noqa: F401
except ImportError as error:
    from sadp_dist.errors import MissingExtra

    raise MissingExtra(error.name or "ray", "ray") from error

from sadp_dist.store.backends.ray.backend import attach, connect, list_runs, remove_run

__all__ = ["attach", "connect", "list_runs", "remove_run"]
