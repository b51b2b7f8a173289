"""Trains runs, several at the same time in worker processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing.queues import Queue

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sadp_dist.errors import TrainingDiverged
from sadp_dist.reproduce.job import Job
from sadp_dist.terminal import Console
from sadp_dist.training.resume import is_done
from sadp_dist.training.run import train

THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


def run_jobs(jobs: Iterable[Job], at_once: int, console: Console) -> dict[str, str]:
    """Train the runs that are not finished; interrupted runs resume from their checkpoints.

    Args:
        jobs: in the order in which to start them; may contain duplicates.
        at_once: number of processes, each with its share of the cores and, if there are GPUs, one of them.
            With 1, runs are trained in this process.
        console: for a line per run.

    Returns:
        The reason of each diverged run, by name.
    """
    wanted: dict[str, Job] = {}
    for job in jobs:
        before = job.after
        while before is not None:
            wanted.setdefault(before.name, before)
            before = before.after
        wanted.setdefault(job.name, job)
    missing = [job for job in wanted.values() if not is_done(job.run_dir)]
    if len(missing) < len(wanted):
        console.print(f"{len(wanted) - len(missing)} of {len(wanted)} runs are done")
    diverged: dict[str, str] = {}
    columns = (TextColumn("runs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("runs", total=len(missing))
        for depth in sorted(
            {job.depth for job in missing}
        ):  # runs before those that start from their weights
            ready = []
            for job in missing:
                if job.depth == depth and job.after is not None and job.after.name in diverged:
                    diverged[job.name] = diverged[job.after.name]  # it has no weights to start from
                elif job.depth == depth:
                    ready.append(job)
            for job, said in _trained(ready, min(at_once, len(ready))):
                bar.advance(task)
                console.print(f"{job.name}: {said}", markup=False, soft_wrap=True, highlight=False)
                if said.startswith(DIVERGED):
                    diverged[job.name] = said
    return diverged


DIVERGED = "diverged: "


def train_job(job: Job) -> str:
    """Train a run to its end, and return its result in words."""
    try:
        summary = train(job.config, "resume", show=False)
    except TrainingDiverged as error:  # also a result, which the tables show
        return f"{DIVERGED}{error}"
    return f"test accuracy {summary['test_accuracy']:.2%}, {summary['total_seconds']:.1f} s of training"


def _trained(jobs: list[Job], at_once: int) -> Iterator[tuple[Job, str]]:
    if at_once <= 1:
        for job in jobs:
            yield job, train_job(job)
        return
    spawn = multiprocessing.get_context("spawn")
    gpus: Queue[int] = spawn.Queue()
    for place in range(at_once):
        gpus.put(place)
    threads = max((os.cpu_count() or 1) // at_once, 1)
    with _environment(threads), ProcessPoolExecutor(at_once, spawn, _begin, (gpus, threads)) as pool:
        running = {pool.submit(train_job, job): job for job in jobs}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Set the environment variables that numeric libraries of new processes read when loaded."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ |= dict.fromkeys(THREADS, str(threads))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _begin(gpus: Queue[int], threads: int) -> None:
    place = gpus.get()
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        # `join_job` selects the GPU with this number.
        os.environ["LOCAL_RANK"] = str(place % torch.cuda.device_count())
