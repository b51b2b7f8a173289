"""The JSON API, for the page and for other programs."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Hashable
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.security import HTTPBearer

import sadp_dist
from sadp_dist.dashboard.models import Classes, Health, Problem, RunSummary, Stats, TopExample
from sadp_dist.dashboard.open_runs import Runs
from sadp_dist.dashboard.thumbnails import LARGEST, SMALLEST, NoSuchImage, Thumbnails
from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store import RunView
from sadp_dist.store.engine.history import EpochRecord
from sadp_dist.time_saved import time_saved_in_words

MOST_EXAMPLES = 1000

RunName = Annotated[str, PathParameter(description="The run's name, percent-encoded.")]


class Document(NamedTuple):
    """An encoded JSON response with its ETag, shared by all requests for it."""

    body: bytes
    tag: str

    @classmethod
    def of(cls, content: Any) -> Document:
        body = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
        return cls(body, f'W/"{hashlib.sha256(body).hexdigest()[:32]}"')


def make_router(runs: Runs, images: Thumbnails | None) -> APIRouter:
    """Return the routes of the API.

    Args:
        runs: to show.
        images: of the dataset that the runs train on.
    """

    def describes(problem: str) -> dict[str, Any]:
        return {"model": Problem, "description": problem}

    router = APIRouter(
        prefix="/api",
        # `Access` checks the token; this only documents it on the OpenAPI page.
        dependencies=[Depends(HTTPBearer(auto_error=False, description="The dashboard's token."))],
        responses={401: describes("No token, or a wrong one")},
    )
    of_a_run: dict[int | str, dict[str, Any]] = {
        404: describes("No such run"),
        422: describes("A parameter is out of its range"),
        503: describes("The store cannot be reached"),
    }

    async def answer(
        request: Request, run: str, key: Hashable, question: Callable[[RunView], Any]
    ) -> Response:
        document = await runs.ask(run, key, lambda store: Document.of(question(store)))
        return respond(request, document)

    @router.get("/health")
    async def health() -> Health:
        """Return whether the dashboard can reach its runs, and if not, why."""
        problem = None
        try:
            await runs.list()
        except (StoreUnavailable, UsageError) as error:
            problem = str(error)
        return Health(
            reachable=problem is None,
            problem=problem,
            store=runs.name,
            version=sadp_dist.__version__,
            images=images is not None,
        )

    @router.get("/runs", responses={503: of_a_run[503]}, response_model_exclude_none=False)
    async def list_runs() -> list[RunSummary]:
        """Return the runs, sorted by name."""
        return [RunSummary.model_validate(found) for found in await runs.list()]

    @router.get("/runs/{run:path}/stats", responses=of_a_run, response_model=Stats)
    async def stats(request: Request, run: RunName) -> Response:
        """Return a run's current statistics: the latest plan, the store and the scores."""
        return await answer(request, run, "stats", lambda store: _stats(store, images))

    @router.get("/runs/{run:path}/history", responses=of_a_run, response_model=list[EpochRecord])
    async def history(
        request: Request,
        run: RunName,
        since: Annotated[int, Query(ge=0, description="The first epoch to return.")] = 0,
    ) -> Response:
        """Return every planned epoch, oldest first, with its training metrics."""

        def records(store: RunView) -> list[dict[str, Any]]:
            return [record.to_dict() for record in store.history() if record.epoch >= since]

        return await answer(request, run, ("history", since), records)

    @router.get("/runs/{run:path}/classes", responses=of_a_run, response_model=Classes | None)
    async def classes(request: Request, run: RunName) -> Response:
        """Return how much of each class the latest plan draws; null if the run has no labels."""
        return await answer(request, run, "classes", lambda store: _classes(store, images))

    @router.get("/runs/{run:path}/top", responses=of_a_run, response_model=list[TopExample])
    async def top(
        request: Request,
        run: RunName,
        k: Annotated[int, Query(ge=1, le=MOST_EXAMPLES, description="Number of examples.")] = 24,
        by: Annotated[
            Literal["score", "change"], Query(description="Rank by the score, or by its last change.")
        ] = "score",
        lowest: Annotated[bool, Query(description="Return the lowest values, lowest first.")] = False,
    ) -> Response:
        """Return the examples with the highest or lowest scores or changes."""
        return await answer(
            request, run, ("top", k, by, lowest), lambda store: _top(store, images, k, by, lowest)
        )

    @router.get(
        "/images/{index}",
        responses={
            200: {"content": {"image/png": {}}, "description": "The image"},
            404: describes("No such image, or the dashboard runs without --images"),
            422: of_a_run[422],
            503: describes("Reading the image takes too long"),
        },
        response_class=Response,
    )
    async def image(
        index: Annotated[int, PathParameter(description="Index of the training example.")],
        size: Annotated[
            int,
            Query(ge=SMALLEST, le=LARGEST, description="Maximum width and height in pixels."),
        ] = 96,
    ) -> Response:
        """Return a training example's image as PNG. Small images are not enlarged."""
        if images is None:
            raise NoSuchImage("the dashboard runs without --images; start it with --images SOURCE")
        png = await images.thumbnail(index, size)
        return Response(png, media_type="image/png", headers={"cache-control": "private, max-age=3600"})

    return router


def respond(request: Request, document: Document) -> Response:
    """Return the JSON, or status 304 if the browser already has it."""
    headers = {"etag": document.tag, "cache-control": "private, no-cache"}
    if document.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(document.body, media_type="application/json", headers=headers)


def _stats(store: RunView, images: Thumbnails | None) -> dict[str, Any]:
    began = time.monotonic()
    figures = store.stats()
    answered_in = time.monotonic() - began
    problem = None if images is None else images.problem_with(figures.dataset_size, figures.data)
    measured = [record.training for record in store.history() if record.training]
    return Stats(
        **vars(figures),
        answered_in=answered_in,
        at=time.time(),
        images_problem=problem,
        time_saved=time_saved_in_words(measured[-1]) if measured else None,
    ).to_dict()


def _shows(images: Thumbnails | None, store: RunView) -> bool:
    """Whether the images are those of a run; others would be shown under its examples' numbers."""
    if images is None:
        return False
    figures = store.stats()
    return images.problem_with(figures.dataset_size, figures.data) is None


def _classes(store: RunView, images: Thumbnails | None) -> dict[str, Any] | None:
    figures = store.classes()
    if figures is None:
        return None
    names = images.classes if images is not None and _shows(images, store) else []
    rows = zip(figures.examples, figures.drawn, figures.score_mean, strict=True)
    return {
        "epoch": figures.epoch,
        "classes": [
            {
                "label": label,
                "name": names[label] if label < len(names) else None,
                "examples": examples,
                "drawn": drawn,
                "keep_rate": drawn / examples if examples else None,
                "score_mean": score_mean,
            }
            for label, (examples, drawn, score_mean) in enumerate(rows)
        ],
    }


def _top(
    store: RunView, images: Thumbnails | None, k: int, by: Literal["score", "change"], lowest: bool
) -> list[dict[str, Any]]:
    indices, values = store.top(k, lowest=lowest, by=by)
    scores = values if by == "score" else store.scores(indices)
    known = _shows(images, store)
    rows = []
    for index, value, score in zip(indices.tolist(), values.tolist(), scores.tolist(), strict=True):
        if math.isnan(score):  # the run has begun again since the first query
            continue
        label = images.label(index) if images is not None and known else None
        names = [] if images is None else images.classes
        rows.append(
            {
                "index": index,
                "value": value,
                "score": score,
                "label": label,
                "name": None if label is None or label >= len(names) else names[label],
                "image": None if label is None else f"/api/images/{index}",
            }
        )
    return rows
