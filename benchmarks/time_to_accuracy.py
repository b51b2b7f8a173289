"""Time to reach an accuracy, small scale: SADP, InfoBatch, random pruning, full data.

The recipe for two cores trains on every tenth image of CIFAR-10 and tests on every fifth test image, with
three seeds. The methods take turns epoch by epoch, so a machine that becomes busy slows all of them. Times
are those of training, from an epoch's plan to its last step, without tests. Finished seeds are saved in
runs/benchmarks/time_to_accuracy.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from pathlib import Path

import torch
from torch.utils.data import Subset

from benchmarks.result import Cell, Options, Plot, Ratio, Result, Table
from sadp_dist.data import open_images
from sadp_dist.loading import FFCVLoader, write_beton
from sadp_dist.training import load_config
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.processes import Process
from sadp_dist.training.progress import Progress
from sadp_dist.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs" / "benchmarks" / "time_to_accuracy"
SEEDS = (0, 1, 2)
EVERY = {"train": 10, "test": 5}  # image
BATCH = 64
FULL = "full data"
SADP = "SADP, r = 0.5"
METHODS = {
    FULL: ["pruning.method=full"],
    "InfoBatch, r = 0.5": ["pruning.method=infobatch", "pruning.ratio=0.5"],
    SADP: ["pruning.ratio=0.5", "pruning.max_ratio=0.7", "pruning.min_probability=0.3"],
    "random pruning, r = 0.5": ["pruning.method=random", "pruning.ratio=0.5"],
}

Curve = list[dict[str, float]]
"""Of each epoch: seconds and examples so far, and the test accuracy."""


def curves_of(seed: int, data: Path) -> dict[str, Curve]:
    """Return every method's curve, from the file of a finished run, or trained and saved there."""
    kept = RUNS / f"seed{seed}.json"
    shared = [f"data.{split}={RUNS}/{split}.beton" for split in EVERY]
    shared += [f"seed={seed}", f"training.batch_size={BATCH}"]
    recipe = ROOT / "configs" / "cifar10-small.yaml"
    configs = {name: load_config(recipe, [*shared, *method]) for name, method in METHODS.items()}
    described = {name: config.to_dict() for name, config in configs.items()}
    if kept.exists() and (done := json.loads(kept.read_text(encoding="utf-8")))["configs"] == described:
        curves: dict[str, Curve] = done["curves"]
        return curves
    for split in EVERY:
        if not (RUNS / f"{split}.beton").exists():
            images = open_images(data / "cifar10.zip", split)
            write_beton(Subset(images, range(0, len(images), EVERY[split])), RUNS / f"{split}.beton")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    process = Process(rank=0, world_size=1, device=device)
    trainers = {name: Trainer(config, process) for name, config in configs.items()}
    curves = {name: [] for name in METHODS}
    unused, silent = Checkpoints(RUNS), Progress("", 0, enabled=False)
    first = next(iter(trainers.values()))
    for trainer in trainers.values():  # the loaders are compiled once for all
        trainer.data, trainer.loader = dataclasses.replace(first.data, seed=seed), first.loader
    assert isinstance(first.loader, FFCVLoader)
    for epoch in range(first.config.training.epochs):
        names = list(METHODS)
        for name in names[epoch % len(names) :] + names[: epoch % len(names)]:
            trainer = trainers[name]
            first.loader.sampler = trainer.sampler
            if epoch == 0:
                compile_what_is_compiled(trainer)
            record = trainer.train_epoch(unused, silent)
            totals = {key: record[f"total_{key}"] for key in ("seconds", "examples")}
            curves[name].append(totals | {"accuracy": trainer.evaluate()["test_accuracy"]})
    for trainer in trainers.values():
        trainer.store.close()
    kept.write_text(json.dumps({"configs": described, "curves": curves}, indent=1) + "\n", encoding="utf-8")
    return curves


def compile_what_is_compiled(trainer: Trainer) -> None:
    """Run forward and backward with two batch sizes, then restore weights and statistics."""
    state = {key: value.clone() for key, value in trainer.learner.network.state_dict().items()}
    for batch in (BATCH, 16):
        images = torch.rand(batch, 3, 32, 32, device=trainer.device)
        trainer.learner.network.train()(images).sum().backward()
    trainer.learner.network.zero_grad(set_to_none=True)
    trainer.learner.network.load_state_dict(state)


def measure(options: Options) -> Result:
    """See the module."""
    if options.short or options.data is None:
        reason = "a short run has no part of it." if options.short else "no cifar10.zip in --data."
        return Result([Table("Time to an accuracy", ["method"], [["none"]], f"Not measured: {reason}")])
    RUNS.mkdir(parents=True, exist_ok=True)
    by_seed = [curves_of(seed, options.data) for seed in SEEDS]
    target = min(max(point["accuracy"] for point in curve) for curves in by_seed for curve in curves.values())
    reached = {name: [seconds_to(target, curves[name]) for curves in by_seed] for name in METHODS}
    all_examples = by_seed[0][FULL][-1]["examples"]
    rows = [_row(name, [curves[name] for curves in by_seed], all_examples, reached[name]) for name in METHODS]
    columns = [
        "method",
        "final test accuracy, %",
        "by seed, %",
        "examples / full data",
        "training, s",
        f"time to {target:.1%}, s",
    ]
    note = (
        f"5,000 training images, 2,000 test images, small_cnn, T = 4, {len(by_seed[0][FULL])} epochs, "
        f"batch {BATCH}. Every run reaches {target:.1%}; times are interpolated linearly between epochs. "
        "InfoBatch trains on all data in its first and last epochs."
    )
    table = Table(f"Accuracy and time, {len(SEEDS)} seeds, mean ± sd", columns, rows, note)
    ratios = [
        Ratio(f"SADP / {name}: time to {target:.1%}", _mean_ratio(reached[SADP], reached[name]), "lower")
        for name in METHODS
        if name != SADP
    ]
    lines = {name: mean_curve([curves[name] for curves in by_seed]) for name in METHODS}
    title = "A tenth of CIFAR-10: test accuracy against time of training"
    return Result([table], ratios, [Plot("time-to-accuracy", title, "seconds", "test accuracy", lines)])


def seconds_to(target: float, curve: Curve) -> float:
    """Return when the accuracy first reaches `target`, interpolated linearly between epochs."""
    before = {"seconds": 0.0, "accuracy": 0.0}
    for point in curve:
        if point["accuracy"] >= target:
            share = (target - before["accuracy"]) / (point["accuracy"] - before["accuracy"])
            return before["seconds"] + share * (point["seconds"] - before["seconds"])
        before = point
    raise ValueError(f"{target} is above {before['accuracy']}")


def mean_curve(curves: list[Curve]) -> list[tuple[float, float]]:
    """Return seconds and accuracy after each epoch, means over the seeds."""
    return [
        (
            statistics.mean(point["seconds"] for point in points),
            statistics.mean(point["accuracy"] for point in points),
        )
        for points in zip(*curves, strict=True)
    ]


def _mean_ratio(numerators: list[float], denominators: list[float]) -> float:
    return statistics.mean(a / b for a, b in zip(numerators, denominators, strict=True))


def _row(name: str, curves: list[Curve], examples_of_full: float, reached: list[float]) -> list[Cell]:
    last = [100 * curve[-1]["accuracy"] for curve in curves]
    examples = statistics.mean(curve[-1]["examples"] for curve in curves)
    return [
        name,
        f"{statistics.mean(last):.2f} ± {statistics.stdev(last):.2f}",
        "  ".join(f"{one:.2f}" for one in last),
        f"{examples / examples_of_full:.3f}",
        statistics.mean(curve[-1]["seconds"] for curve in curves),
        f"{statistics.mean(reached):.1f} ± {statistics.stdev(reached):.1f}",
    ]
