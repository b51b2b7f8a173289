"""Whole runs on the device: in each precision, with one process in an NCCL group, and resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from sadp_dist.selftest.images import generated, in_memory, in_precision, run_config
from sadp_dist.selftest.part import CORRECTNESS, Figures, Skipped
from sadp_dist.selftest.setting import Setting
from sadp_dist.training.checkpoint import Checkpoints, random_state
from sadp_dist.training.metrics import MetricsLog, read_metrics
from sadp_dist.training.processes import Process
from sadp_dist.training.progress import Progress
from sadp_dist.training.trainer import Trainer

LEARNED = 0.5
"""Test accuracy that every run reaches; by chance it is 0.1."""


def _trainer(setting: Setting, name: str, grouped: bool = False, **sections: Any) -> Trainer:
    sizes = setting.sizes
    config = run_config(name, setting.folder / name, sizes.side, **sections)
    config.run_dir.mkdir(exist_ok=True)
    process = Process(0, 1, setting.device, grouped)
    train, test = (generated(sizes.examples, sizes.side, seed) for seed in (0, 1))
    return Trainer(config, process, in_memory(config, setting.device, train, test))


def _finish(trainer: Trainer) -> list[dict[str, Any]]:
    """Train a run to its end, and return the records of its epochs."""
    config = trainer.config
    try:
        with MetricsLog(config.run_dir) as log:
            trainer.run(Checkpoints(config.run_dir), log, Progress(config.name, 0, enabled=False))
        pushed, examples = trainer.store.stats().pushed_scores, trainer.totals["examples"]
        # The first steps in fp16 overflow until the scale is small enough, and have no scores.
        fewest = 0.5 * examples if config.training.precision == "fp16" else examples
        assert fewest <= pushed <= examples, f"{pushed} scores of {examples} examples"
    finally:
        trainer.store.close()
    return read_metrics(config.run_dir)


def _learned(epochs: list[dict[str, Any]]) -> float:
    accuracy: float = epochs[-1]["test_accuracy"]
    assert accuracy > LEARNED, f"test accuracy {accuracy:.2f}, losses {[e['loss'] for e in epochs]}"
    return accuracy


@CORRECTNESS.check("runs in each precision learn and push every score")
def precisions(setting: Setting) -> Figures:
    found = {}
    kinds: dict[str, dict[str, Any]] = {
        "fp32": {},
        "bf16": in_precision("bf16", setting),
        "fp16": {"precision": "fp16", "channels_last": True},
    }
    for name, training in kinds.items():
        epochs = _finish(_trainer(setting, name, training={"epochs": 6, **training}))
        found[f"{name}, test accuracy"] = _learned(epochs)
    return found


def compiled(setting: Setting) -> Figures:
    """Train a compiled network in bf16. ``ways`` registers it, behind what does not wait for a compiler."""
    if not setting.on_gpu:
        raise Skipped("on a CPU, a C++ compiler would need half a minute")
    training = {"epochs": 3, "precision": "bf16", "compile": True}
    return {"test accuracy": _learned(_finish(_trainer(setting, "compiled", training=training)))}


@CORRECTNESS.check("a run with a process group")
def grouped(setting: Setting) -> Figures:
    """Run DDP, sums, agreement and checkpoints with the collectives of a group of one process."""
    if not dist.is_available() or (setting.on_gpu and not dist.is_nccl_available()):
        raise Skipped("this torch has no NCCL")
    with _group(setting):
        trainer = _trainer(setting, "grouped", grouped=True, training={"epochs": 6, "accumulate": 2})
        return {"backend": str(dist.get_backend()), "test accuracy": _learned(_finish(trainer))}


@contextmanager
def _group(setting: Setting) -> Iterator[None]:
    backend = "cpu:gloo,cuda:nccl" if setting.on_gpu else "gloo"
    rendezvous = f"file://{setting.folder}/rendezvous"
    dist.init_process_group(backend, init_method=rendezvous, rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


@CORRECTNESS.check("a checkpoint restores a run")
def resumed(setting: Setting) -> Figures:
    """Stop a run in fp16 in its first phase, of fewer time steps, and resume it in a new trainer.

    The state has to be the same, bit for bit. On the CPU, so have to be the weights at the end; CUDA adds in
    another order each time.
    """
    curriculum = [{"until": 0.5, "time_steps": 1}, {}]
    training = {"epochs": 4, "checkpoint_every": 2, "curriculum": curriculum, **in_precision("fp16", setting)}
    straight = _trainer(setting, "straight", training=training)
    _finish(straight)
    stopped = _trainer(setting, "stopped", training=training)
    checkpoints = Checkpoints(stopped.config.run_dir)
    progress = Progress("stopped", 0, enabled=False)
    stopped.train_epoch(checkpoints, progress)
    stopped.save(checkpoints)
    state, random = stopped.learner.state_dict(), random_state(setting.device)
    again = _trainer(setting, "stopped", training=training)
    torch.rand(3, device=setting.device)  # moves the generator on
    assert again.resume(checkpoints), "no checkpoint was found"
    _assert_equal(state, again.learner.state_dict(), "state")
    _assert_equal(random, random_state(setting.device), "random")
    stopped.store.close()
    _finish(again)
    weights = [trainer.learner.network.state_dict() for trainer in (straight, again)]
    difference = max(float((weights[0][key] - weights[1][key]).abs().max()) for key in weights[0])
    assert setting.on_gpu or difference == 0, f"the weights differ by {difference}"
    return {"largest difference of a weight from a run without a stop": difference}


def _assert_equal(one: Any, other: Any, where: str) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one.cpu(), other.cpu()), f"{where} differs"
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), f"{where} has other keys"
        for key, value in one.items():
            _assert_equal(value, other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        for number, pair in enumerate(zip(one, other, strict=True)):
            _assert_equal(*pair, f"{where}[{number}]")
    else:
        assert one == other, f"{where} is {one}, then {other}"
