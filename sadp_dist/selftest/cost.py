"""What scores cost on the device: time and memory of whole training steps, and Opacus beside."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from typing import Any

import torch

from sadp_dist.selftest.images import generated, in_memory, run_config
from sadp_dist.selftest.part import COST, Figures, Skipped
from sadp_dist.selftest.setting import DEVICE, REHEARSAL, Setting
from sadp_dist.selftest.timing import compared_to, step_memory, step_seconds
from sadp_dist.selftest.true_norms import NormSteps
from sadp_dist.training.processes import Process
from sadp_dist.training.trainer import Trainer

NONE, LAST, ALL = "no scores", "last layer", "all layers"
KINDS: dict[str, dict[str, Any]] = {
    NONE: {"pruning": {"method": "full"}},
    LAST: {"scoring": {"layers": "last"}},
    ALL: {"scoring": {"layers": "all"}},
}
BATCHES = 4
NORMS_BATCH = 256


def step_cost(number: int, setting: Setting) -> Figures:
    """Measure a network's training step: augmentation aside, all that a trainer does with a batch.

    Args:
        number: of the network among ``Sizes.networks``.
        setting: of the self-test.
    """
    name, side, batch, time_steps, precision = setting.sizes.networks[number]
    trainers = []
    steps: dict[str, Callable[[], None]] = {}
    for kind, sections in KINDS.items():
        config = run_config(
            kind,
            setting.folder,
            side,
            network={"name": name, "time_steps": time_steps},
            training={"batch_size": batch, "precision": precision, "learning_rate": 0.001},
            **sections,
        )
        data = in_memory(config, setting.device, *(generated(BATCHES * batch, side, seed) for seed in (0, 1)))
        trainers.append(Trainer(config, Process(0, 1, setting.device), data))
        steps[kind] = _step(trainers[-1], batch)
    turns = setting.sizes.turns
    seconds = step_seconds(steps, turns, setting.device, warm_up=min(turns // 2, 3))
    memory = {kind: step_memory(step, setting.device) for kind, step in steps.items()}
    for trainer in trainers:
        trainer.store.close()
    relative = compared_to(NONE, seconds)
    return {
        "batch": batch,
        f"{NONE}: step, ms": 1e3 * statistics.median(seconds[NONE]),
        f"{NONE}: images/s": batch / statistics.median(seconds[NONE]),
        **{f"{kind} / {NONE}, step": ratio for kind, ratio in relative.items()},
        f"{NONE}: memory of a step, MiB": memory[NONE],
        **{f"{kind} / {NONE}, memory": memory[kind] / memory[NONE] for kind in relative},
    }


def _step(trainer: Trainer, batch: int) -> Callable[[], None]:
    trainer.sampler.set_epoch(0)
    whole = [some for some in trainer.loader if len(some[0]) == batch]
    batches = cycle(whole)
    trainer.learner.trained.train()

    def step() -> None:
        trainer.train_batch(*next(batches), examples=batch, last=True)

    return step


for number, sizes in enumerate(zip(DEVICE.networks, REHEARSAL.networks, strict=True)):
    assert sizes[0][0] == sizes[1][0]
    COST.check(f"cost of scores, {sizes[0][0]}")(partial(step_cost, number))


@COST.check("cost of scores, Opacus beside")
def opacus(setting: Setting) -> Figures:
    """Measure forward and backward of a small network without normalisation."""
    if find_spec("opacus") is None:
        raise Skipped("opacus is not installed")
    steps = NormSteps(NORMS_BATCH if setting.on_gpu else setting.sizes.batch, setting.device)
    ways = {
        NONE: steps.scored(None),
        LAST: steps.scored({"layers": "last"}),
        ALL: steps.scored({"layers": "all"}),
        "Opacus": steps.opacus(),
    }
    seconds = step_seconds(ways, setting.sizes.turns, setting.device)
    found = ways["Opacus"]()
    assert found is not None and bool(torch.isfinite(found).all())
    return {
        f"{NONE}: step, ms": 1e3 * statistics.median(seconds[NONE]),
        **{f"{way} / {NONE}, step": ratio for way, ratio in compared_to(NONE, seconds).items()},
        f"Opacus / {ALL}, step": compared_to(ALL, seconds)["Opacus"],
    }
