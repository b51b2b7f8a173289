"""What the API's answers look like; the OpenAPI page is made of it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, Field

from sadp_dist.store import StoreStats


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str = Field(description="One line.")


class RunSummary(BaseModel):
    """A run in the list."""

    run: str
    dataset_size: int | None = Field(None, description="N.")
    method: str | None = Field(None, description="The pruning rule.")
    epoch: int | None = Field(None, description="Of the latest plan, from 0.")
    created: float | None = Field(None, description="Seconds since 1970.")
    last_snapshot: float | None = Field(None, description="Seconds since 1970.")
    planner: str | None = Field(None, description="The process that plans; null where none does now.")
    problem: str | None = Field(None, description="Why the run cannot be read.")


@dataclass(frozen=True, kw_only=True)
class Stats(StoreStats):
    """A run at one moment. What nothing is known about yet is null.

    Attributes:
        answered_in: seconds that the store took to answer.
        at: when it answered, in seconds since 1970.
    """

    answered_in: float
    at: float


class ClassRow(BaseModel):
    """A class, as the latest plan draws it."""

    label: int
    name: str | None = Field(description="Known where --images is given.")
    examples: int
    drawn: int
    keep_rate: float | None = Field(description="drawn / examples.")
    score_mean: float | None = Field(description="Of those that have a score.")


class Classes(BaseModel):
    """All classes, by label."""

    epoch: int | None = Field(description="Of the latest plan, from 0.")
    classes: list[ClassRow]


class TopExample(BaseModel):
    """A training example among the first by score, or by its change."""

    index: int
    value: float = Field(description="What the order is by: the score, or its change.")
    score: float
    label: int | None = Field(description="Known where --images is given.")
    name: str | None = Field(description="Of its class; known where --images is given.")
    image: str | None = Field(description="Path of its image, where --images is given.")


class Health(BaseModel):
    """Whether the dashboard gets at its runs."""

    reachable: bool
    problem: str | None = Field(description="Why not.")
    store: str = Field(description="The store's URL without password, or the folder.")
    version: str
    images: bool = Field(description="Whether --images is given.")
