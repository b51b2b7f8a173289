"""Time of a pruned epoch, compared with (1 - r) of a full one.

Trains CIFAR-10 with the recipe for two cores. Epochs of all pruning ratios take turns on one network. The
time includes planning, drawing, loading, training, scoring and pushing. A full epoch neither scores nor
pushes. The two processes are started by torchrun and share the machine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset

from benchmarks.result import Options, Plot, Ratio, Result, Table
from benchmarks.timing import in_turns, median_ratio
from sadp_dist import PruningConfig, connect
from sadp_dist.data import open_images
from sadp_dist.loading import write_beton
from sadp_dist.training import load_config, parse_config
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.processes import Process, join_job
from sadp_dist.training.progress import Progress
from sadp_dist.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
FULL = 0.0
GOAL = 0.01  # above 1 - r


class Epochs:
    """Trains epochs of any ratio with one trainer, which switches between the ratios' stores.

    Args:
        trainer: the trainer, whose method computes scores.
        process: this rank.
        ratios: the ratios of the pruned epochs.
        epochs: the largest number of epochs of each ratio.
    """

    def __init__(self, trainer: Trainer, process: Process, ratios: list[float], epochs: int) -> None:
        self.trainer = trainer
        self.checkpoints = Checkpoints(Path("unused"))
        self.stores, self.done = {}, dict.fromkeys((FULL, *ratios), 0)
        size = trainer.data.size
        scores = np.random.default_rng(0).lognormal(size=size)
        for ratio in self.done:
            method = "sadp" if ratio else "full"
            pruning = PruningConfig(ratio=ratio, method=method, min_probability=0.05, epochs=epochs)
            store = connect("memory:", run=f"r = {ratio}", dataset_size=size, pruning=pruning)
            mine = np.arange(process.rank, size, process.world_size)
            store.push(mine, scores[mine], epoch=0)
            self.stores[ratio] = store

    def of(self, ratio: float) -> Callable[[], None]:
        """Train the next epoch of this ratio."""

        def epoch() -> None:
            trainer = self.trainer
            trainer.store = trainer.sampler._store = self.stores[ratio]
            trainer.score = "gradient" if ratio else None
            trainer.epoch = self.done[ratio]
            self.done[ratio] += 1
            trainer.train_epoch(self.checkpoints, Progress("", 0, enabled=False))

        return epoch


def seconds(config: dict[str, Any], ratios: list[float], turns: int) -> dict[float, list[float]]:
    """Return the seconds of every turn by ratio, on this rank of a job."""
    with join_job() as process:
        trainer = Trainer(parse_config(config), process)
        epochs = Epochs(trainer, process, ratios, turns + 2)
        for ratio in (FULL, ratios[-1]):  # what is compiled, is compiled here
            epochs.of(ratio)()
        taken = in_turns({str(ratio): epochs.of(ratio) for ratio in epochs.done}, turns, warm_up=0)
        for store in epochs.stores.values():
            store.close()
        trainer.store.close()
    return {float(ratio): of_turns for ratio, of_turns in taken.items()}


def under_torchrun(
    processes: int, config: dict[str, Any], ratios: list[float], turns: int
) -> dict[float, list[float]]:
    """Return the same for several processes; the seconds are those of rank 0."""
    with tempfile.TemporaryDirectory() as folder:
        job, found = Path(folder, "job.json"), Path(folder, "found.json")
        job.write_text(json.dumps([config, ratios, turns]), encoding="utf-8")
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "benchmarks.epoch_time"]
        threads = str(max(len(os.sched_getaffinity(0)) // processes, 1))
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        subprocess.run([*command, str(job), str(found)], check=True, cwd=ROOT, env=environment)
        return {float(ratio): of_turns for ratio, of_turns in json.loads(found.read_text()).items()}


def recipe(data: Path, folder: Path, short: bool) -> dict[str, Any]:
    """Return the two-core recipe on a part of CIFAR-10, in the folder; a short run uses the digits."""
    if short:
        script = ROOT / "examples" / "digits_images.py"
        subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
        images = [f"data.train={folder}", f"data.test={folder}", "data.loader=torch", "data.workers=0"]
        overrides = [*images, "data.train_split=train", "data.test_split=test"]
        return load_config(ROOT / "configs" / "digits.yaml", [*overrides, "pruning.stratify=none"]).to_dict()
    every = 1 if torch.cuda.is_available() else 5
    for split in ("train", "test"):
        images = open_images(data / "cifar10.zip", split)
        write_beton(Subset(images, range(0, len(images), every)), folder / f"{split}.beton")
    paths = [f"data.{split}={folder}/{split}.beton" for split in ("train", "test")]
    return load_config(ROOT / "configs" / "cifar10-small.yaml", paths).to_dict()


def measure(options: Options) -> Result:
    """See the module."""
    if options.data is None and not options.short:
        note = "Not measured: it needs cifar10.zip, in the folder that --data or SADP_DIST_DATA names."
        return Result([Table("Time of an epoch of CIFAR-10", ["r"], [["none"]], note)])
    with tempfile.TemporaryDirectory() as folder:
        config = recipe(options.data or Path(), Path(folder), options.short)
        if options.short:
            torch.set_num_threads(1)  # on images this small two would wait for each other
            taken = seconds(config, [0.5], turns=5)
            half = median_ratio(taken[0.5], taken[FULL])
            return Result(
                ratios=[Ratio("epoch at r = 0.5 / half a full epoch", 2 * half, "lower", slack=1.5)]
            )
        ratios = [round(0.1 * tenth, 1) for tenth in range(1, 10)]
        jobs = {"1 process": seconds(config, ratios, turns=5)}
        if not torch.cuda.is_available() or torch.cuda.device_count() > 1:
            jobs["2 processes"] = under_torchrun(2, config, ratios, turns=5)
    tables, found, lines = [], [], {}
    for name, taken in jobs.items():
        above = {ratio: median_ratio(taken[ratio], taken[FULL]) - (1 - ratio) for ratio in ratios}
        full = statistics.median(taken[FULL])
        rows = [_row(ratio, taken, above[ratio]) for ratio in ratios]
        columns = ["r", "epoch, s", "relative to a full epoch", "range", "1 - r", "difference"]
        note = f"A full epoch takes {full:.1f} s. Medians and ranges of five turns."
        tables.append(Table(f"Time of an epoch of CIFAR-10, {name}", columns, rows, note))
        lines[name] = [(ratio, 1 - ratio + above[ratio]) for ratio in ratios]
        found += [
            Ratio(
                f"{name}: relative time - (1 - r), mean over r",
                statistics.mean(above.values()),
                "lower",
                GOAL,
            ),
            Ratio(f"{name}: relative time - (1 - r), maximum over r", max(above.values()), "lower", GOAL),
        ]
    lines["1 - r"] = [(ratio, 1 - ratio) for ratio in ratios]
    plot = Plot("epoch-time", "Time of an epoch", "pruning ratio r", "relative to a full epoch", lines)
    return Result(tables, found, [plot])


def _row(ratio: float, taken: dict[float, list[float]], above: float) -> list[str | float]:
    relative = [a / b for a, b in zip(taken[ratio], taken[FULL], strict=True)]
    spread = f"{min(relative):.3f} to {max(relative):.3f}"
    middle = f"{statistics.median(relative):.3f}"
    return [f"{ratio}", statistics.median(taken[ratio]), middle, spread, f"{1 - ratio:.1f}", f"{above:+.3f}"]


if __name__ == "__main__":  # a rank of a job
    job, found = map(Path, sys.argv[1:])
    taken = seconds(*json.loads(job.read_text(encoding="utf-8")))
    if os.environ["RANK"] == "0":
        found.write_text(json.dumps(taken), encoding="utf-8")
