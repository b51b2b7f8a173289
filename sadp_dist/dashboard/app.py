"""The dashboard as one application: its page, the API behind it, metrics, and who gets in."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from reprlib import repr  # a long value is cut in the middle

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
    """The dashboard.

    Args:
        runs: what is shown.
        images: of the data set that they train on.
        token: who knows it gets in; None lets in everybody who calls this machine by a name of its loopback.
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
        # A foreign page whose name has come to mean this machine would read all that the browser may.
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
    """Every error is {"detail": "one line"}."""
    statuses: dict[type[Exception], int] = {
        NoSuchRun: 404,
        NoSuchImage: 404,
        StoreUnavailable: 503,
        # What the request says has been checked; what is wrong now is how the store is reached.
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
        return JSONResponse({"detail": "the dashboard failed; its output says why"}, 500)

    for kind in statuses:
        app.add_exception_handler(kind, problem)
    app.add_exception_handler(RequestValidationError, out_of_range)
    app.add_exception_handler(Exception, failed)
