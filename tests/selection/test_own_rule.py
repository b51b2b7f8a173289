"""A rule from one file outside the package, with options, scores and state of its own."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sadp_dist.errors import UsageError
from sadp_dist.selection import RULES, PruningConfig, plan_epoch
from sadp_dist.store import connect

FILE = '''
"""Draws are carried over epochs: the S examples with the largest credit are drawn, and pay 1."""

from typing import Annotated

import numpy as np
from pydantic import Field

from sadp_dist.selection import PruningConfig, Rule, register


class CarriedConfig(PruningConfig):
    power: Annotated[float, Field(ge=0, le=2)] = 1.0


@register("carried", CarriedConfig)
class Carried(Rule):
    score = "loss"
    state = {"credit": np.float32}

    def probabilities(self, table, subset_size, epoch):
        G = table.scores.astype(np.float64) ** self.config.power
        return np.minimum(G * subset_size / G.sum(), 1)

    def draw(self, table, p, epoch):
        credit = table.state["credit"]
        credit += p
        drawn = np.zeros(len(p), bool)
        drawn[np.argsort(-credit, kind="stable")[: round(p.sum())]] = True
        credit[drawn] -= 1
        return np.packbits(drawn, bitorder="little")

    def combine(self, before, new, epoch):
        return np.where(np.isnan(before), new, (before + new) / 2)
'''
N = 40


@pytest.fixture(autouse=True)
def rule(tmp_path: Path) -> Iterator[None]:
    file = tmp_path / "carried_rule.py"
    file.write_text(FILE)
    spec = importlib.util.spec_from_file_location("carried_rule", file)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    yield
    del RULES["carried"]


def pruning(**settings: float) -> PruningConfig:
    return PruningConfig(method="carried", ratio=0.75, epochs=20, **settings)


def test_it_plans_with_its_options_which_no_other_rule_has() -> None:
    plan = plan_epoch(np.arange(N), 0, pruning(power=0))
    assert (plan.drawn, plan.subset_size) == (10, 10)
    np.testing.assert_allclose(plan.weights, 1)
    assert set(plan_epoch(np.arange(N), 0, pruning(power=2)).indices.tolist()) == set(range(30, 40))
    with pytest.raises(UsageError, match=r"power=3 is not a number in \[0, 2\]"):
        pruning(power=3)
    with pytest.raises(UsageError, match='power is an option of method="carried", and method is "sadp"'):
        PruningConfig(power=1)


def test_what_it_keeps_of_each_example_lives_in_the_table_and_in_snapshots(tmp_path: Path) -> None:
    store = connect("memory:", "carried", N, pruning())
    again = connect("memory:", "carried", N, pruning())
    store.push(np.arange(N), np.ones(N), epoch=0)
    often, planned = np.zeros(N), {}
    for epoch in range(1, 5):  # equal scores: every example once before any twice
        planned[epoch] = store.plan(epoch).indices
        often[planned[epoch]] += 1
        if epoch == 2:
            store.save(tmp_path / "store.npz")
            again.load(tmp_path / "store.npz")
    assert (often == 1).all()
    for epoch in (3, 4):
        np.testing.assert_array_equal(again.plan(epoch).indices, planned[epoch])


def test_a_score_is_combined_with_the_one_before() -> None:
    store = connect("memory:", "carried", N, pruning())
    for epoch, score in enumerate((4.0, 2.0, 2.0)):
        store.push([7], [score], epoch)
    assert store.scores([7]) == 2.5
