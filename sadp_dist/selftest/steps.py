"""Training steps of every kind on the device: they wait for nothing, and every part of the package runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.profiler import record_function

from sadp_dist.selftest.images import generated, in_memory, run_config
from sadp_dist.selftest.part import CORRECTNESS, Figures
from sadp_dist.selftest.setting import Setting
from sadp_dist.selftest.waiting import STEP, no_waiting, values_read, waits_in_steps
from sadp_dist.training.processes import Process
from sadp_dist.training.trainer import Trainer

BATCH = 32
AUGMENTED = {"augment": "crop", "padding": 2, "cutout": 4}
SCORINGS: dict[str, dict[str, Any]] = {
    "last layer": {"layers": "last"},
    "all layers": {"layers": "all"},
    "exact": {"layers": "last", "exact": True},
    "loss": {"score": "loss"},
}


def trainer_of(setting: Setting, **sections: Any) -> Trainer:
    """Return a trainer on generated images in the device's memory; sections as of ``run_config``."""
    train, test = (generated(size, setting.sizes.side, seed=size) for size in (8 * BATCH, BATCH))
    config = run_config("steps", setting.folder / "steps", setting.sizes.side, **sections)
    process = Process(0, 1, setting.device)
    return Trainer(config, process, in_memory(config, setting.device, train, test))


def waits_of_steps(setting: Setting, **sections: Any) -> list[str]:
    """Return what waits for the device in some steps of a trainer, after the first ones.

    On the CPU: what reads values, other than what the store takes.
    """
    training = {"optimizer": "sgd", "accumulate": 2, **sections.pop("training", {})}
    trainer = trainer_of(setting, training=training, **sections)
    trainer.sampler.set_epoch(0)
    batches = list(trainer.loader)

    def steps() -> None:
        for number, (images, labels, indices, weights) in enumerate(batches):
            with record_function(STEP):
                trainer.train_batch(images, labels, indices, weights, examples=BATCH, last=number % 2 == 1)

    try:
        steps()  # constants and pinned memory are made at the first
        if not setting.on_gpu:
            with values_read() as seen:
                steps()
            return [name for name in seen if name != "numpy"]
        torch.cuda.synchronize()
        with torch.profiler.profile(with_stack=True) as profile:
            steps()
            torch.cuda.synchronize()
        if waits := waits_in_steps(profile.events()):
            return waits
        with no_waiting(setting.device):  # its traceback names the line
            steps()
        trainer.store.flush()
        assert trainer.store.stats().seen > 0
        return []
    finally:
        trainer.store.close()


def _check(waits: dict[str, list[str]]) -> Figures:
    found = {name: sorted(set(some)) for name, some in waits.items() if some}
    assert not found, f"a step waits: {found}"
    return {"kinds of steps without a wait": len(waits)}


@CORRECTNESS.check("a step waits for nothing", seconds=90)
def no_wait(setting: Setting) -> Figures:
    """Take steps with each score, and on CUDA in each precision, with augmentation and pushes."""
    kinds: dict[str, dict[str, Any]] = {
        name: {"scoring": scoring, "data": AUGMENTED} for name, scoring in SCORINGS.items()
    }
    if setting.on_gpu:  # autocast and GradScaler of the CPU read values
        kinds |= {precision: {"training": {"precision": precision}} for precision in ("bf16", "fp16")}
        kinds["AdamW"] = {"training": {"optimizer": "adamw"}}
    return _check({name: waits_of_steps(setting, **kind) for name, kind in kinds.items()})


CONSTANTS = {"__float__", "aten._local_scalar_dense.default", "aten.index.Tensor"}
"""What AutoAugment does with constants and integers on the CPU, which cannot be told from a wait there."""


@CORRECTNESS.check("a step with AutoAugment waits for nothing")
def no_wait_augmented(setting: Setting) -> Figures:
    augmented = {**AUGMENTED, "autoaugment": "cifar10"}
    waits = waits_of_steps(setting, data=augmented)
    if not setting.on_gpu:
        waits = [name for name in waits if name not in CONSTANTS]
    return _check({"AutoAugment": waits})


TET = {"loss": "tet", "tet_lambda": 0.0}
OTHERS: dict[str, dict[str, Any]] = {
    "rule tbptt": {"learning": {"rule": "tbptt", "steps": 1}},
    **{f"rule {rule}": {"learning": {"rule": rule}} for rule in ("sltt", "ottt", "decolle", "ell")},
    **{f"{kind} neurons": {"network": {"neuron": {"kind": kind}}} for kind in ("psn", "sliding_psn")},
    "masked_psn neurons": {"network": {"neuron": {"kind": "masked_psn", "order": 2}}},
    "t_revsnn_small": {"network": {"name": "t_revsnn_small"}},
    "quantised weights": {"compression": {"method": "qat"}},
    "activity pruning": {"compression": {"method": "activity-pruning", "until": 0.6}},
    "sparse structure": {"compression": {"method": "sparse-structure", "every": 1, "until": 0.8}},
    "channels_last": {"training": {"channels_last": True}},
}
"""Parts with code of their own for devices or precisions."""


@CORRECTNESS.check("a step of every learning rule, neuron and compression")
def every_kind(setting: Setting) -> Figures:
    """Take a step in bf16, and evaluate; the loss has to be finite and scores have to arrive."""
    failed = {}
    for name, sections in OTHERS.items():
        training = {**TET, "precision": "bf16", "epochs": 5, **sections.get("training", {})}
        if problem := _problem(partial(_one_step, setting, {**sections, "training": training})):
            failed[name] = problem
    assert not failed, f"{len(failed)} of {len(OTHERS)} fail: {failed}"
    return {"kinds that take a step": len(OTHERS)}


def _problem(step: Callable[[], None]) -> str | None:
    """Return the error of a step in a line, or None."""
    try:
        step()
    except Exception as error:  # one kind that fails does not hide the others
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None


def _one_step(setting: Setting, sections: dict[str, Any]) -> None:
    trainer = trainer_of(setting, **sections)
    try:
        loss = trainer.take_step()
        assert loss is not None and math.isfinite(loss), f"the loss is {loss}"
        assert trainer.store.stats().seen > 0, "no score arrived"
        trainer.evaluate()
    finally:
        trainer.store.close()
