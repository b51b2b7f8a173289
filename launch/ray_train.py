"""Train in a Ray cluster: a job of Ray Train, each worker of which is a rank of `sadp-dist train`.

    launch/ray_job.sh configs/digits.yaml                                from wherever the cluster is reached
    python launch/ray_train.py --workers 4 configs/digits.yaml seed=1    on a machine of the cluster

The scores live in an actor of the cluster, ray:auto, unless the configuration names another place. Workers
that die are started again, with --resume, as often as --max-restarts says.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer

from sadp_dist.errors import StoreUnavailable, TrainingDiverged, UsageError
from sadp_dist.training import load_config, train
from sadp_dist.training.check import check


def train_rank(job: dict[str, Any]) -> str | None:
    """Train one rank. Return an error that a restart cannot fix, because Ray restarts after exceptions."""
    os.chdir(job["folder"])
    try:
        train(job["config"], job["existing"])
    except (UsageError, TrainingDiverged) as error:
        return str(error)
    return None


def main() -> None:
    options = parse()
    config = load_config(options.config, options.overrides)
    if config.store.url == "memory:":
        config = config.replace(store=config.store.replace(url="ray:auto"))
    if options.max_restarts and options.overwrite:
        raise UsageError(
            "--overwrite needs --max-restarts 0, because every restart would delete the run; or remove the "
            "run directory first"
        )
    resume = options.resume or options.max_restarts > 0
    extend = "extend" if options.extend else "resume" if resume else "refuse"
    existing = "overwrite" if options.overwrite else extend

    fewest, most = options.workers
    join_cluster(most, options)
    try:
        os.chdir(options.folder)
    except OSError as error:
        raise UsageError(
            f"--folder={options.folder} does not exist on the cluster ({error.strerror}); give a folder that "
            "all its machines share"
        ) from None
    check(config, existing, nodes=range(fewest, most + 1))

    trainer = TorchTrainer(
        train_rank,
        train_loop_config={"config": config, "existing": existing, "folder": os.getcwd()},
        scaling_config=ScalingConfig(
            num_workers=most if fewest == most else (fewest, most),
            use_gpu=options.gpu,
            resources_per_worker={"CPU": options.cpus, **({"GPU": 1} if options.gpu else {})},
        ),
        torch_config=TorchConfig("cpu:gloo,cuda:nccl" if options.gpu else "gloo"),
        run_config=RunConfig(
            name="ray",
            storage_path=str(config.run_dir.resolve()),
            failure_config=FailureConfig(max_failures=options.max_restarts),
        ),
    )
    problem = trainer.fit().return_value
    if problem is not None:
        raise UsageError(problem)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ray_train.py", description="Train in a Ray cluster.")
    parser.add_argument("--workers", type=numbers, default=(1, 1), help="ranks, N or MIN:MAX (default 1)")
    parser.add_argument(
        "--cpus", type=int, choices=range(1, 1025), metavar="N", default=1, help="CPUs per rank (default 1)"
    )
    parser.add_argument("--gpu", action="store_true", help="use one GPU per rank")
    parser.add_argument(
        "--max-restarts", type=int, default=0, help="maximum restarts after failures (default 0)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path.cwd(),
        help="folder with data/ and runs/, the same on all machines (default: the current folder)",
    )
    parser.add_argument("--resume", action="store_true", help="as in sadp-dist train")
    parser.add_argument("--extend", action="store_true", help="as in sadp-dist train")
    parser.add_argument("--overwrite", action="store_true", help="as in sadp-dist train")
    parser.add_argument("config", metavar="CONFIG.yaml")
    parser.add_argument("overrides", metavar="SECTION.KEY=VALUE", nargs="*")
    return parser.parse_intermixed_args()


def numbers(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d*)(?::([1-9]\d*))?", text)
    if found is None or int(found[1]) > int(found[2] or found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number, such as 4, or MIN:MAX, such as 2:4")
    return int(found[1]), int(found[2] or found[1])


def join_cluster(workers: int, options: argparse.Namespace) -> None:
    try:
        ray.init("auto")
    except ConnectionError as error:
        raise StoreUnavailable(
            "this machine has no Ray cluster; use launch/ray_job.sh, or start one with: ray start --head"
        ) from error
    for name, each in (("CPU", options.cpus), ("GPU", int(options.gpu))):
        there = ray.cluster_resources().get(name, 0)
        if there < workers * each:
            print(
                f"ray_train.py: {workers} workers need {workers * each} {name}s, but the cluster has "
                f"{there:g}; Ray waits until it has more",
                flush=True,
            )


if __name__ == "__main__":
    try:
        main()
    except (UsageError, StoreUnavailable) as error:
        print(f"ray_train.py: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except TrainingFailedError as error:
        *_, reason = str(error).strip().splitlines()
        print(f"ray_train.py: {reason}", file=sys.stderr)
        sys.exit(1)
