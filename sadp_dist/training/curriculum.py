"""The ``training.curriculum`` of a configuration: cheaper epochs first, the full cost at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from sadp_dist.data.config import DataConfig
from sadp_dist.errors import UsageError
from sadp_dist.sections import Section


class CurriculumPhase(Section):
    """A part of a run whose epochs have their own time steps, image size and strength of augmentation.

    Attributes:
        until: the fraction of the run's epochs at which the phase ends; 1 for the last phase.
        time_steps: T of its epochs, at most `network.time_steps`. An image is shown T times; the steps of a
            sequence are merged into T equal groups, each of which becomes its mean. None:
            `network.time_steps`.
        image_size: side of its training images, in pixels, at most `data.image_size`. Crops of `data.augment:
            resized-crop` are decoded at this size; others are made at `data.image_size`, then resized. None:
            `data.image_size`.
        augment_strength: factor of `data.padding` and `data.cutout`, of the probabilities of
            `data.autoaugment`, and of the share of an image that a resized crop leaves out at most. Flips
            stay.
    """

    until: Annotated[float, Field(gt=0, le=1)] = 1.0
    time_steps: Annotated[int, Field(ge=1)] | None = None
    image_size: Annotated[int, Field(ge=1)] | None = None
    augment_strength: Annotated[float, Field(ge=0, le=1)] = 1.0


def check_fractions(curriculum: Sequence[CurriculumPhase]) -> None:
    """Refuse phases that are not in order, or do not fill the run.

    Raises:
        UsageError: naming the phase.
    """
    before = 0.0
    for number, phase in enumerate(curriculum):
        if phase.until <= before:
            raise UsageError(
                f"curriculum[{number}].until={phase.until:g} must be above {before:g}, "
                "the end of the phase before it"
            )
        before = phase.until
    if curriculum and before < 1:
        raise UsageError(
            f"curriculum[{len(curriculum) - 1}].until={before:g}: the last phase ends with the run; "
            "set it to 1, or add a phase"
        )


def check_largest(curriculum: Sequence[CurriculumPhase], **largest: int) -> None:
    """Refuse a phase above the run's own values, and a last phase below them: tests use the run's own.

    Args:
        curriculum: of the run.
        largest: the run's value of each key of a phase.

    Raises:
        UsageError: naming the phase.
    """
    sections = {"time_steps": "network", "image_size": "data"}
    for number, phase in enumerate(curriculum):
        for key, limit in largest.items():
            value, own = getattr(phase, key), f"{sections[key]}.{key}={limit}"
            where = f"training.curriculum[{number}].{key}={value}"
            if value is not None and value > limit:
                raise UsageError(f"{where} must be at most {own}, with which the network is tested")
            if value not in (None, limit) and number == len(curriculum) - 1:
                raise UsageError(
                    f"{where}, but the last phase must have {own}, with which the network is tested; remove "
                    f"{key} from it, or add a phase after it"
                )


def check_strengths(curriculum: Sequence[CurriculumPhase], data: DataConfig) -> None:
    """Refuse strengths of an augmentation that the run does not have.

    Raises:
        UsageError: naming the phase.
    """
    for number, phase in enumerate(curriculum):
        if phase.augment_strength != 1 and data.augment == "none" and data.autoaugment is None:
            raise UsageError(
                f"training.curriculum[{number}].augment_strength={phase.augment_strength:g} has no effect "
                "with data.augment=none; remove it, or set data.augment"
            )
