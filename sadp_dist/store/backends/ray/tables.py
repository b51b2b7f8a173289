"""The tables of a run as its engine sees them: one in the same actor, or several in actors of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import ray

from sadp_dist.selection.parts import LocalParts, Parts
from sadp_dist.store.backends.ray import cluster
from sadp_dist.store.backends.ray.creation import Creation
from sadp_dist.store.backends.ray.table import KeptTable, TableActor, TableLost

ROUND_TIMEOUT = 300.0
"""Seconds for one step of a plan; an actor that starts on another node takes tens of them."""
SENT_ONCE = 2**17
"""Bytes from which an array that goes to all tables is put where all can read it."""

Left: TypeAlias = "ray.ObjectRef[Any]"
"""Something that lies with Ray, to be fetched by whoever needs it."""


class Tables(Parts, Protocol):
    """All tables of a run."""

    def leave(self, method: str, *arguments: Any) -> list[Left]:
        """As `each`, with the results left with Ray."""
        ...


class TableHere(LocalParts):
    """The only table, in this process."""

    def __init__(self, creation: Creation) -> None:
        super().__init__([KeptTable(creation, 0)])

    def each_its(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Parts.each_its`; arguments may lie with Ray."""
        return super().each_its(method, [tuple(_fetched(it) for it in its) for its in arguments])

    def leave(self, method: str, *arguments: Any) -> list[Left]:
        """See `Tables.leave`."""
        return [ray.put(result) for result in self.each(method, *arguments)]


class TableActors:
    """Several tables, each in an actor, on as many nodes as there are.

    Raises:
        TableLost: in every method, after which the state of all tables is open.
    """

    def __init__(self, creation: Creation) -> None:
        self.ranges: Sequence[range] = creation.ranges
        self._actors = [
            cluster.make(
                TableActor,
                f"{creation.name}/{number}",
                cluster.TABLES,
                creation,
                number,
                scheduling_strategy="SPREAD",
            )
            for number in range(len(self.ranges))
        ]
        self._admitted = self._get([actor.admit.remote() for actor in self._actors])

    def each(self, method: str, *arguments: Any) -> list[Any]:
        """See `Parts.each`."""
        return self._get(self._call(method, [tuple(map(_put_if_large, arguments))] * len(self._actors)))

    def each_its(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Parts.each_its`; arguments may lie with Ray."""
        return self._get(self._call(method, arguments))

    def leave(self, method: str, *arguments: Any) -> list[Left]:
        """See `Tables.leave`; they never come here."""
        results = self._call(method, [arguments] * len(self._actors))
        self.each("memory_bytes")  # an actor does one thing after the other: the results are there
        return results

    def _call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Left]:
        calls = zip(self._actors, self._admitted, arguments, strict=True)
        return [actor.call.remote(admitted, method, *its) for actor, admitted, its in calls]

    def _get(self, results: list[Left]) -> list[Any]:
        with cluster.errors_of_ray(no_answer=TableLost):
            return ray.get(results, timeout=ROUND_TIMEOUT)


def _fetched(argument: Any) -> Any:
    return cluster.fetch([argument], ROUND_TIMEOUT)[0] if isinstance(argument, ray.ObjectRef) else argument


def _put_if_large(argument: Any) -> Any:
    large = isinstance(argument, np.ndarray) and argument.nbytes >= SENT_ONCE
    return ray.put(argument) if large else argument
