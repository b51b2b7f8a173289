"""The check of a Ray cluster."""

from __future__ import annotations

from sadp_dist.doctor.check import Status, check
from sadp_dist.doctor.options import DoctorOptions
from sadp_dist.errors import StoreUnavailable


@check(
    "Ray cluster",
    "A Ray cluster answers at the store's URL.",
    "Start one with `ray start --head`, or set `RAY_ADDRESS=HOST:PORT` for `ray:auto`.",
    applies=lambda options: options.store_kind == "ray",
    needs=("ray", "torch"),
    patience=90,
)
def cluster(options: DoctorOptions) -> tuple[Status, str]:
    from sadp_dist.store import list_runs

    assert options.store is not None
    try:
        runs = list_runs(options.store)
    except StoreUnavailable as error:
        return Status.BROKEN, str(error)
    return Status.OK, f"answers and holds {len(runs)} run(s)"
