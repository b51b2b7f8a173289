"""SLTT compared with other rules: accuracy, time and memory by time steps (Table S2 of SLTT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sadp_dist.reproduce.baselines import OF_PART
from sadp_dist.reproduce.experiment import register
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.learning_rules import EACH_STEP
from sadp_dist.reproduce.methods import FULL
from sadp_dist.reproduce.published import Published
from sadp_dist.reproduce.published_systems import SLTT_TABLE_S2
from sadp_dist.reproduce.result import Cell, ResultTable
from sadp_dist.reproduce.small_data import CIFAR10_PART
from sadp_dist.reproduce.step_costs import StepCost, step_cost
from sadp_dist.reproduce.systems import IMAGES, UNPRUNED, System, SystemsTable

RECIPE = "cifar10-resnet18-sltt.yaml"
TRAINED = (2, 4, 6)
"""Time steps of the trained networks, as in Table S2."""
MEASURED = (2, 6, 20)
"""Time steps at which training steps are measured."""
COMPARED = 6
"""Time steps for which the supplement also has times and memory."""
MIB = 2**20


@dataclass(frozen=True)
class RuleVariant:
    """A learning rule with options.

    Attributes:
        key: value of ``learning.rule``.
        least: smallest T at which it differs from the rules before it.
        more: overrides with its options.
    """

    key: str
    least: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)

    def overrides(self, time_steps: int) -> dict[str, Any]:
        """Return the overrides of the recipe for T time steps."""
        return {"learning.rule": self.key, "network.time_steps": time_steps, **self.more}


RULES = {
    "BPTT": RuleVariant("bptt"),
    "TBPTT, 2 steps": RuleVariant("tbptt", 3, {"learning.steps": 2}),
    "SLTT": RuleVariant("sltt"),
    "SLTT-2": RuleVariant("sltt", 3, {"learning.backward_steps": 2}),
    "OTTT": RuleVariant("ottt"),
}


@register("sltt")
class SLTTComparison(SystemsTable):
    """Every rule with the same loss, on full data and with SADP, and the cost of a step."""

    title = "SLTT"
    about = "rules that learn through time"

    def systems(self, setting: ExperimentSetting) -> Sequence[System]:
        systems = []
        loss = EACH_STEP if setting.small else {}  # the paper's recipe already sets it
        for time_steps in (4,) if setting.small else TRAINED:
            for name, rule in RULES.items():
                if time_steps < rule.least:
                    continue
                published = {} if rule.more else _accuracy(rule.key, time_steps)
                systems.append(
                    System(
                        f"{name}, T = {time_steps}",
                        IMAGES if setting.small else RECIPE,
                        (0.5,),
                        {**rule.overrides(time_steps), **loss},
                        CIFAR10_PART if setting.small else None,
                        published,
                        methods=("sadp",),
                    )
                )
        return systems

    def where(self, setting: ExperimentSetting) -> str:
        return OF_PART if setting.small else "CIFAR-10, ResNet18"

    def note(self, setting: ExperimentSetting) -> str:
        return "The paper's values are for ResNet18 on all of CIFAR-10." if setting.small else ""

    def more(self, setting: ExperimentSetting) -> list[ResultTable]:
        costs = {
            name: {T: self._cost(setting, rule, T) for T in MEASURED if rule.least <= T}
            for name, rule in RULES.items()
        }
        whole = costs["BPTT"]
        memory, seconds = {}, {}
        for name, of_rule in costs.items():
            ratio, share = _shares(RULES[name])
            memory[name] = [
                *(Cell([of_rule[T].peak_bytes / MIB], digits=1) if T in of_rule else None for T in MEASURED),
                Cell([of_rule[COMPARED].peak_bytes / whole[COMPARED].peak_bytes], ratio),
            ]
            seconds[name] = [
                *(Cell([of_rule[T].epoch_seconds], digits=1) if T in of_rule else None for T in MEASURED),
                Cell([of_rule[COMPARED].epoch_seconds / whole[COMPARED].epoch_seconds], share),
            ]
        steps = [f"T = {T}" for T in MEASURED]
        last = f"T = {COMPARED}, relative to BPTT"
        where = self.where(setting)
        note = "On CUDA, the peak of allocated memory; else the memory that autograd keeps."
        return [
            ResultTable(
                setting.titled(f"SLTT: peak memory of a step in MiB, {where}"),
                "rule",
                [*steps, last],
                memory,
                note,
            ),
            ResultTable(
                setting.titled(f"SLTT: seconds of an epoch on full data, {where}"),
                "rule",
                [*steps, last],
                seconds,
                "Computed from the fastest of a few steps with the first batch, without loading.",
            ),
        ]

    def _cost(self, setting: ExperimentSetting, rule: RuleVariant, time_steps: int) -> StepCost:
        overrides = {**rule.overrides(time_steps), **FULL}
        if setting.small:
            job = setting.run(IMAGES, {**overrides, **EACH_STEP}, setting.seeds[0], CIFAR10_PART)
        else:
            job = setting.run(RECIPE, overrides, setting.seeds[0])
        return step_cost(job.config)


def _accuracy(rule: str, time_steps: int) -> dict[tuple[str, float], Published]:
    known = SLTT_TABLE_S2.get((rule, time_steps))
    return {} if known is None else {UNPRUNED: known[2]}


def _shares(rule: RuleVariant) -> tuple[Published | None, Published | None]:
    """Return the supplement's memory and time of a rule relative to BPTT."""
    ours, whole = (SLTT_TABLE_S2.get((key, COMPARED)) for key in (rule.key, "bptt"))
    if ours is None or whole is None or rule.more:
        return None, None
    memory, hours = (
        Published(round(of.mean / to.mean, 2)) for of, to in zip(ours[:2], whole[:2], strict=True)
    )
    return memory, hours
