"""Checks of this machine: GPUs, shared memory, limits, clock and folders."""

from __future__ import annotations

import math
import os
import resource
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

from sadp_dist.doctor.check import Status, check
from sadp_dist.doctor.options import DoctorOptions

GIB = 2**30
SHARED_MEMORY = GIB
"""Bytes that should be free in /dev/shm: NCCL's recommendation for containers."""
OPEN_FILES, FEW_OPEN_FILES = 1024, 64
"""Open files per process: what most systems allow, and what two ranks with two workers need."""
FREE_FOR_FILES = GIB
TOOL_TIMEOUT = 10.0
"""Seconds for nvidia-smi and timedatectl."""


@check(
    "GPUs",
    "torch finds the NVIDIA GPUs and can compute on each. Without a GPU, training uses the CPU. A torch "
    "build for a newer CUDA than the driver supports finds no GPU. A torch build without the GPU's "
    "architecture cannot compute on it.",
    "Update the driver (`nvidia-smi` shows its version), or install a torch build that matches it: "
    "https://pytorch.org/get-started/locally",
    needs=("torch",),
    patience=120,
)
def gpus(options: DoctorOptions) -> tuple[Status, str] | tuple[Status, str, str]:
    import torch

    build = f"torch for CUDA {torch.version.cuda}" if torch.version.cuda else "torch without CUDA"
    installed, driver = _nvidia_smi()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if not usable:
        if not installed:
            return Status.OK, f"no GPU, training uses the CPU; {build}"
        if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
            return Status.OK, f"{len(installed)} hidden by CUDA_VISIBLE_DEVICES=, training uses the CPU"
        reason = f": {caught[0].message}" if caught else ""
        return Status.WARNING, f"{build} cannot use the {len(installed)} GPUs with driver {driver}{reason}"
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    for number, name in enumerate(names):
        try:
            int(torch.ones(2, device=f"cuda:{number}").sum())
        except RuntimeError as error:
            return Status.BROKEN, f"cuda:{number} ({name}) cannot compute: {str(error).splitlines()[0]}"
    return (
        Status.OK,
        f"{len(names)} ({', '.join(dict.fromkeys(names))}), driver {driver or 'unknown'}; {build}",
    )


def _nvidia_smi() -> tuple[list[str], str]:
    """Return the names of the GPUs and the version of the driver; empty without a driver."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return [], ""
    rows = [line.rsplit(", ", 1) for line in done.stdout.splitlines() if ", " in line]
    return [name for name, _ in rows], rows[0][1] if rows else ""


@check(
    "torch.distributed",
    "Processes communicate through gloo on the CPU and through NCCL on GPUs.",
    "`pip install --upgrade torch`; the CUDA builds include NCCL.",
    needs=("torch",),
)
def distributed(options: DoctorOptions) -> tuple[Status, str]:
    import torch
    import torch.distributed as dist

    if not dist.is_available():
        return Status.WARNING, "this torch was built without it; a run can use one process only"
    nccl = dist.is_nccl_available()
    version = f" {'.'.join(map(str, torch.cuda.nccl.version()))}" if nccl and torch.version.cuda else ""
    found = f"gloo, NCCL{version}" if nccl else "gloo, no NCCL"
    return Status.WARNING if torch.cuda.device_count() > 1 and not nccl else Status.OK, found


@check(
    "shared memory",
    "The workers of `data.loader: torch`, NCCL and Ray pass data through /dev/shm. A container has 64 MB of "
    "it by default. If it is full, processes fail with `Bus error` or `No space left on device`.",
    "In a container: `docker run --shm-size 1g ...` (compose: `shm_size: 1gb`; Kubernetes: an emptyDir of "
    "medium Memory at /dev/shm). Outside: `sudo mount -o remount,size=8G /dev/shm`.",
)
def shared_memory(options: DoctorOptions) -> tuple[Status, str]:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Status.WARNING, "/dev/shm does not exist"
    usage = shutil.disk_usage(folder)
    found = f"{size(usage.free)} free of {size(usage.total)}"
    needed = _bytes_of_workers(options)
    if usage.free < needed:
        return Status.BROKEN, f"{found}; the batches of this run's workers need {size(needed)}"
    if usage.free < SHARED_MEMORY:
        return Status.WARNING, f"{found}; several ranks need {size(SHARED_MEMORY)}"
    return Status.OK, found


def _bytes_of_workers(options: DoctorOptions) -> int:
    """Return the bytes of the batches that DataLoader's workers prefetch, two per worker."""
    from sadp_dist.data import DATASETS

    config = options.config
    if config is None or config.data.loader != "torch":
        return 0
    dataset = DATASETS.get(config.data.dataset or "")
    example = 3 * config.data.image_size**2
    if dataset is not None and dataset.kind != "images" and dataset.shape is not None:
        example = 4 * config.network.time_steps * math.prod(dataset.shape[1:])
    batch = config.training.batch_size // config.training.accumulate * example
    return 2 * config.data.workers * batch  # `batch` is the batch of all ranks together


@check(
    "open files",
    "A process has an open file for every connection, worker and shared batch. If the limit is too low, it "
    "fails with `Too many open files`.",
    "`ulimit -n 65536` before the job. Permanently: `* - nofile 65536` in /etc/security/limits.conf "
    "(systemd: `LimitNOFILE=65536`; Docker: `--ulimit nofile=65536`).",
)
def open_files(options: DoctorOptions) -> tuple[Status, str]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Status.OK, "no limit"
    more = "" if hard == resource.RLIM_INFINITY else f" (hard limit {hard:,})"
    found = f"at most {soft:,} per process{more}"
    if soft >= OPEN_FILES:
        return Status.OK, found
    return Status.BROKEN if soft < FEW_OPEN_FILES else Status.WARNING, found


@check(
    "clock",
    "Times in logs and run lists come from each machine's clock. Plans and scores do not depend on clocks.",
    "`sudo timedatectl set-ntp true`.",
)
def clock(options: DoctorOptions) -> tuple[Status, str]:
    command = ["timedatectl", "show", "--property", "NTPSynchronized", "--value"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return Status.OK, "timedatectl is not available"  # a container has its host's clock
    if done.stdout.strip() == "no":
        return Status.WARNING, "not synchronised by NTP"
    return Status.OK, "synchronised by NTP"


@check(
    "temporary files",
    "torch, FFCV and Ray write files of several megabytes to the folder for temporary files.",
    "`export TMPDIR=FOLDER` with a writable folder that has free space.",
)
def temporary_files(options: DoctorOptions) -> tuple[Status, str]:
    try:
        folder = Path(tempfile.gettempdir())  # tests candidates by writing
    except FileNotFoundError as error:
        return Status.BROKEN, str(error)
    free = shutil.disk_usage(folder).free
    return Status.OK if free >= FREE_FOR_FILES else Status.WARNING, f"{folder} has {size(free)} free"


@check(
    "compiled code",
    "numba caches the compiled code of sadp_dist next to the package or in the user's home directory. If it "
    "can write to neither, every command fails: `cannot cache function ... no locator available`.",
    "`export NUMBA_CACHE_DIR=/tmp/numba`.",
    needs=("numba",),
    patience=60,
)
def compiled_code(options: DoctorOptions) -> tuple[Status, str]:
    import numba

    try:

        @numba.njit(cache=True)
        def one() -> int:
            return 1

        one()
    except RuntimeError as error:
        return Status.BROKEN, str(error)
    return Status.OK, f"cached in {one.stats.cache_path}"


def size(count: float) -> str:
    """Format a number of bytes in MiB or GiB."""
    return f"{count / GIB:,.1f} GiB" if count >= GIB else f"{count / 2**20:,.0f} MiB"
