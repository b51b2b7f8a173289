"""A Ray cluster as the home of the scores."""

from __future__ import annotations

from sadp_dist.doctor.check import State, check
from sadp_dist.doctor.subject import Subject
from sadp_dist.errors import StoreUnavailable


@check(
    "Ray cluster",
    "A Ray cluster answers at the store's URL.",
    "`ray start --head` starts one; `RAY_ADDRESS=HOST:PORT` names one for `ray:auto`.",
    applies=lambda subject: subject.store_kind == "ray",
    needs=("ray", "torch"),
    patience=90,
)
def cluster(subject: Subject) -> tuple[State, str]:
    from sadp_dist.store import list_runs

    assert subject.store is not None
    try:
        runs = list_runs(subject.store)
    except StoreUnavailable as error:
        return State.BROKEN, str(error)
    return State.OK, f"answers, and has {len(runs)} run(s)"
