"""The options of a dataset on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sadp_dist.errors import UsageError


def dataset_options(dataset: str, options: Sequence[str], time_steps: int | None) -> dict[str, Any]:
    """Return a dataset's options as its reader takes them.

    Args:
        dataset: its name, see ``--dataset``.
        options: the values of ``--option``, as "key=value".
        time_steps: the value of ``--time-steps``.

    Raises:
        UsageError: the dataset or an option is not known, or a value is not allowed.
    """
    from sadp_dist.choices import check_choice
    from sadp_dist.data import DATASETS, DataConfig

    check_choice("--dataset", dataset, DATASETS)
    found: dict[str, Any] = {}
    if time_steps is not None:
        if not DATASETS[dataset].takes_time_steps:
            raise UsageError(
                f"--time-steps {time_steps}: dataset {dataset} has no events to make frames of; leave it out"
            )
        if time_steps < 1:
            raise UsageError(f"--time-steps {time_steps}: must be at least 1")
        found["time_steps"] = time_steps
    section = DATASETS.options(dataset)
    allowed = (
        [] if section is None else [key for key in section.model_fields if key not in DataConfig.model_fields]
    )
    given = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise UsageError(f"--option {option!r} must look like key=value")
        if not allowed:
            raise UsageError(f"--option {option!r}: dataset {dataset} has no options; leave it out")
        check_choice("--option", key, allowed)
        given[key] = text
    if section is not None:
        own = section.parse({"train": "", "test": "", "dataset": dataset, **given}, "--option").own_options()
        found |= {key: own[key] for key in given}
    return found
