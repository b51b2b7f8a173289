"""The dashboard: a web page that shows runs live, with a JSON API, images and metrics."""

from __future__ import annotations

try:
    import fastapi  # noqa: F401
    import fastapi_offline  # noqa: F401
    import plotly  # type: ignore[import-untyped]  # noqa: F401
    import prometheus_client  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    from sadp_dist.errors import MissingExtra

    raise MissingExtra(error.name or "fastapi", "dashboard") from error

from sadp_dist.dashboard.app import create_app
from sadp_dist.dashboard.open_runs import Runs
from sadp_dist.dashboard.server import is_loopback, serve
from sadp_dist.dashboard.sources import open_source
from sadp_dist.dashboard.thumbnails import Thumbnails

__all__ = ["Runs", "Thumbnails", "create_app", "is_loopback", "open_source", "serve"]
