"""The dashboard's ASGI application: page, API, metrics and access control."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from reprlib import repr  # shortens long values

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

import sadp_dist
from sadp_dist.dashboard.access import Access
from sadp_dist.dashboard.api import make_router
from sadp_dist.dashboard.open_runs import NoSuchRun, Runs
from sadp_dist.dashboard.prometheus import metrics
from sadp_dist.dashboard.thumbnails import NoSuchImage, Thumbnails
from sadp_dist.errors import StoreUnavailable, UsageError

PAGE = Path(__file__).parent / "page"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def create_app(runs: Runs, images: Thumbnails | None = None, token: str | None = None) -> ASGIApp:
    """Return the dashboard's application.

    Args:
        runs: to show.
        images: of the dataset that the runs train on.
        token: required of every request; None allows every request that names a loopback host.
    """
    app: FastAPI = FastAPIOffline(
        title="sadp-dist dashboard",
        version=sadp_dist.__version__,
        description="Runs of spike-aware data pruning: plans, scores, classes and examples.",
        redoc_url=None,
    )
    app.include_router(make_router(runs, images))
    _add_pages(app, runs)
    _add_errors(app)
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)
    guarded: ASGIApp = Access(app, token)
    if token is None:
        # Against DNS rebinding: another site's page whose name now points to this machine.
        guarded = TrustedHostMiddleware(guarded, LOOPBACK_NAMES, www_redirect=False)
    return guarded


def _add_pages(app: FastAPI, runs: Runs) -> None:
    plotly = Path(str(files("plotly"))) / "package_data" / "plotly.min.js"

    async def page(request: Request) -> Response:
        return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})

    async def plotly_js(request: Request) -> Response:
        return FileResponse(plotly, headers={"cache-control": "public, max-age=3600"})

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok")

    async def prometheus(request: Request) -> Response:
        return Response(await metrics(runs), headers={"content-type": CONTENT_TYPE_LATEST})

    app.add_route("/", page)
    app.add_route("/healthz", healthz)
    app.add_route("/metrics", prometheus)
    app.add_route("/static/plotly.min.js", plotly_js)
    app.mount("/static", StaticFiles(directory=PAGE, check_dir=False))


def _add_errors(app: FastAPI) -> None:
    """Return every error as {"detail": "one line"}."""
    statuses: dict[type[Exception], int] = {
        NoSuchRun: 404,
        NoSuchImage: 404,
        StoreUnavailable: 503,
        # The request has been validated, so this is about the connection to the store.
        UsageError: 503,
    }

    async def problem(request: Request, error: Exception) -> Response:
        status = next(status for kind, status in statuses.items() if isinstance(error, kind))
        return JSONResponse({"detail": " ".join(str(error).split())}, status)

    async def out_of_range(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        wrong = (f"{each['loc'][-1]}={repr(each['input'])}: {each['msg']}" for each in error.errors())
        return JSONResponse({"detail": "; ".join(wrong)}, 422)

    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": "internal error; see the output of sadp-dist dashboard"}, 500)

    for kind in statuses:
        app.add_exception_handler(kind, problem)
    app.add_exception_handler(RequestValidationError, out_of_range)
    app.add_exception_handler(Exception, failed)
