"""The response models of the API, from which the OpenAPI page is generated."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, Field

from sadp_dist.store import StoreStats


class Problem(BaseModel):
    """An error."""

    detail: str = Field(description="What is wrong, in one line.")


class RunSummary(BaseModel):
    """A run in the list."""

    run: str
    dataset_size: int | None = Field(None, description="N.")
    method: str | None = Field(None, description="The pruning rule.")
    epoch: int | None = Field(None, description="Epoch of the latest plan, from 0.")
    epochs: int | None = Field(None, description="Epochs of the run.")
    state: str | None = Field(None, description="done, running or stopped; null if unknown.")
    since: float | None = Field(None, description="Unix time in seconds of the last activity.")
    created: float | None = Field(None, description="Unix time in seconds.")
    last_snapshot: float | None = Field(None, description="Unix time in seconds.")
    planner: str | None = Field(None, description="The process that plans; null if there is none.")
    problem: str | None = Field(None, description="Why the run cannot be read.")


@dataclass(frozen=True, kw_only=True)
class Stats(StoreStats):
    """The statistics of a run at one moment. Unknown values are null.

    Attributes:
        answered_in: seconds that the store took to answer.
        at: Unix time of the answer, in seconds.
        images_problem: why the images of --images are not shown for this run; null if they are its images, or
            without --images.
        time_saved: by pruning so far, against full data, as an estimate in words; null if unknown.
    """

    answered_in: float
    at: float
    images_problem: str | None
    time_saved: str | None


class ClassRow(BaseModel):
    """A class in the latest plan."""

    label: int
    name: str | None = Field(description="Null without --images.")
    examples: int
    drawn: int
    keep_rate: float | None = Field(description="drawn / examples.")
    score_mean: float | None = Field(description="Mean over the examples that have a score.")


class Classes(BaseModel):
    """All classes, by label."""

    epoch: int | None = Field(description="Epoch of the latest plan, from 0.")
    classes: list[ClassRow]


class TopExample(BaseModel):
    """A training example in a ranking by score or by change."""

    index: int
    value: float = Field(description="The ranked value: the score or its change.")
    score: float
    label: int | None = Field(description="Null without --images.")
    name: str | None = Field(description="Class name; null without --images.")
    image: str | None = Field(description="Path of the image; null without --images.")


class Health(BaseModel):
    """Whether the dashboard can reach its runs."""

    reachable: bool
    problem: str | None = Field(description="Why the runs cannot be reached.")
    store: str = Field(description="The store's URL without password, or the folder.")
    version: str
    images: bool = Field(description="Whether --images is given.")
