"""Table XI and two-stage sparse structure learning: pruning data and compressing the network."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sadp_dist.reproduce.baselines import OF_PART
from sadp_dist.reproduce.experiment import register
from sadp_dist.reproduce.experiment_setting import ExperimentSetting
from sadp_dist.reproduce.job import Job
from sadp_dist.reproduce.published_systems import SPARSE_TABLE_1, TABLE_XI
from sadp_dist.reproduce.result import Cell
from sadp_dist.reproduce.small_data import CIFAR10_PART
from sadp_dist.reproduce.systems import (
    IMAGES,
    SMALL_RATIO,
    UNPRUNED,
    Row,
    System,
    SystemsTable,
    figure_cell,
    on_cifar10,
)
from sadp_dist.training.export import Exported, export_run

OF_RESNET19 = "The paper's values are for ResNet19 on all of CIFAR-10."
OF_VGG16 = "The paper's values are for VGG16 on all of CIFAR-10."


def _percent(record: Mapping[str, Any]) -> float | None:
    share = record.get("connectivity")
    return None if share is None else 100 * share


def _millions(figure: str) -> Callable[[Mapping[str, Any]], float | None]:
    def read(record: Mapping[str, Any]) -> float | None:
        count = record.get(figure)
        return None if count is None else count / 1e6

    return read


@register("table11")
class TableXI(SystemsTable):
    """Quantisation and activity pruning. The network of the first seed is exported."""

    title = "Table XI"
    about = "efficient inference"

    def systems(self, setting: ExperimentSetting) -> Sequence[System]:
        names = {"qat": "8 bits", "activity-pruning": "activity pruning"}
        return on_cifar10(
            setting, names, "cifar10-vgg16-{}.yaml", lambda method: {"compression.method": method}, TABLE_XI
        )

    def where(self, setting: ExperimentSetting) -> str:
        return OF_PART if setting.small else "CIFAR-10, VGG16"

    def note(self, setting: ExperimentSetting) -> str:
        return OF_VGG16 if setting.small else ""

    def columns(self, setting: ExperimentSetting) -> list[str]:
        return ["connectivity, %", "8-bit file, bytes", "relative to float32", "accuracy of the file, %"]

    def figures_of(self, setting: ExperimentSetting, row: Row) -> list[Cell | None]:
        connectivity, first = figure_cell(row.jobs, _percent, row.diverged), row.jobs[0]
        if first.name in row.diverged:
            return [connectivity, None, None, None]
        exported = export_of(first)
        return [
            connectivity,
            Cell([exported.bytes], digits=0),
            Cell([exported.bytes / exported.float_bytes], digits=3),
            Cell([100 * exported.accuracy]),
        ]


def export_of(job: Job) -> Exported:
    """Return the result of ``sadp-dist export`` for a finished run."""
    with tempfile.TemporaryDirectory() as folder:
        return export_run(job.run_dir, Path(folder) / "network.npz")


@register("sparse")
class Sparse(SystemsTable):
    """Sparse networks from the start, rewired by layer or by neuron."""

    title = "Sparse structure learning"
    about = "Table 1 of Shen et al. (ICLR 2025)"
    figures: ClassVar[Mapping[str, Callable[[Mapping[str, Any]], float | None]]] = {
        "connectivity, %": _percent,
        "parameters, M": _millions("parameters"),
        "SOPs, M": _millions("synaptic_operations"),
    }
    digits: ClassVar[int] = 3

    def systems(self, setting: ExperimentSetting) -> Sequence[System]:
        return [self._dense(setting), *(self._sparse(setting, scope) for scope in SPARSE_TABLE_1)]

    def _dense(self, setting: ExperimentSetting) -> System:
        """Return the same network with all connections."""
        if setting.small:
            return System("dense", IMAGES, (), {}, CIFAR10_PART, methods=())
        return System("dense", "cifar10-resnet19-sparse.yaml", (), {"compression.method": "none"}, methods=())

    def _sparse(self, setting: ExperimentSetting, scope: str) -> System:
        accuracy, *figures = SPARSE_TABLE_1[scope]
        published: dict[str, Any] = {"published": {UNPRUNED: accuracy}, "figures": {UNPRUNED: figures}}
        name, overrides = f"{scope}-wise", {"compression.scope": scope}
        if not setting.small:
            return System(name, "cifar10-resnet19-sparse.yaml", (0.5,), overrides, **published)
        # Rewire after each of the first three epochs; this reaches about the paper's 30 %.
        few: dict[str, Any] = {"method": "sparse-structure", "connectivity": 0.25, "every": 1, "until": 0.6}
        overrides |= {f"compression.{key}": value for key, value in few.items()}
        return System(name, IMAGES, (SMALL_RATIO,), overrides, CIFAR10_PART, **published)

    def where(self, setting: ExperimentSetting) -> str:
        return OF_PART if setting.small else "CIFAR-10, ResNet19"

    def note(self, setting: ExperimentSetting) -> str:
        return OF_RESNET19 if setting.small else ""
