"""Tables IX and X: pruning with online learning and with local learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sadp_dist.reproduce.baselines import OF_PART
from sadp_dist.reproduce.experiment import register
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.published_systems import TABLE_IX, TABLE_X
from sadp_dist.reproduce.small_data import FILMED, GLIDES
from sadp_dist.reproduce.systems import SMALL_RATIO, System, SystemsTable, on_cifar10

EVENTS, SOUNDS = "field-small-events.yaml", "field-small-sounds.yaml"

EACH_STEP: dict[str, Any] = {"training.loss": "tet", "training.tet_lambda": 0.0}
"""The cross entropy of the logits of each time step."""


@register("table9")
class TableIX(SystemsTable):
    """e-prop and SLTT; at small scale also other rules, on generated data."""

    title = "Table IX"
    about = "online learning"

    def systems(self, setting: ExperimentSetting) -> Sequence[System]:
        if setting.small:
            rules = {
                "e-prop, sounds": ("eprop", SOUNDS, GLIDES, {}),
                "SLTT, events": ("sltt", EVENTS, FILMED, {}),
                "SLTT-2, events": ("sltt", EVENTS, FILMED, {"learning.backward_steps": 2}),
                "TBPTT, events": ("tbptt", EVENTS, FILMED, {"learning.steps": 2}),
                "OTTT, events": ("ottt", EVENTS, FILMED, {}),
                "BPTT, events": ("bptt", EVENTS, FILMED, {}),
            }
            return [
                System(
                    name,
                    recipe,
                    (SMALL_RATIO,),
                    {"learning.rule": rule, **more},
                    data,
                    TABLE_IX.get(rule, {}) if not more else {},
                )
                for name, (rule, recipe, data, more) in rules.items()
            ]
        ratios = (0.5, 0.7, 0.9)
        return [
            System("e-prop", "speech-commands-eprop.yaml", ratios, published=TABLE_IX["eprop"]),
            System("SLTT", "cifar10dvs-vgg11-sltt.yaml", ratios, published=TABLE_IX["sltt"]),
        ]

    def where(self, setting: ExperimentSetting) -> str:
        if setting.small:
            return "generated sounds and events"
        return "Speech Commands with T = 101, and CIFAR10-DVS with T = 10"

    def note(self, setting: ExperimentSetting) -> str:
        if not setting.small:
            return ""
        return (
            "Sounds: generated tones that change their pitch, with noise; 12 classes, 26 time steps. Events: "
            "2,000 images of CIFAR-10, 500 for testing, moved in front of a simulated event camera; 6 time "
            "steps. The paper's values are for Speech Commands and CIFAR10-DVS."
        )


@register("table10")
class TableX(SystemsTable):
    """Local learning with fixed and with trained local classifiers."""

    title = "Table X"
    about = "local learning"

    def systems(self, setting: ExperimentSetting) -> Sequence[System]:
        names = {"decolle": "DECOLLE", "ell": "ELL"}
        return on_cifar10(
            setting,
            names,
            "cifar10-resnet18-{}.yaml",
            lambda rule: {"learning.rule": rule, **EACH_STEP},
            TABLE_X,
        )

    def where(self, setting: ExperimentSetting) -> str:
        return OF_PART if setting.small else "CIFAR-10, ResNet18"

    def note(self, setting: ExperimentSetting) -> str:
        return "The paper's values are for ResNet18 on all of CIFAR-10." if setting.small else ""
