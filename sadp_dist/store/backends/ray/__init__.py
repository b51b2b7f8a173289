"""A run in a Ray cluster: actors keep it, wherever the cluster has room. `home` is where it is joined.

Actors need neither torch nor the rest of what a rank does, so that they are small, and soon back.
"""

from __future__ import annotations

try:
    import fsspec  # noqa: F401
    import ray  # noqa: F401
except ImportError as error:
    from sadp_dist.errors import MissingExtra

    raise MissingExtra(error.name or "ray", "ray") from error
