"""This machine: its GPUs, shared memory, limits, clock and folders."""

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
"""Bytes that processes on one machine should find in /dev/shm: NCCL's advice for containers."""
OPEN_FILES, FEW_OPEN_FILES = 1024, 64
"""Open files of a process: what most systems allow, and what two ranks with two workers need."""
FREE_FOR_FILES = GIB
TOOL_TIMEOUT = 10.0
"""Seconds for nvidia-smi and timedatectl."""


@check(
    "GPUs",
    "torch finds the machine's NVIDIA GPUs and computes on each. Without any, training takes the CPU. A "
    "torch built for a newer CUDA than the driver knows finds none; a GPU that torch was not built for does "
    "not compute.",
    "Update the driver (`nvidia-smi` shows its version), or install a torch that is built for it: "
    "https://pytorch.org/get-started/locally",
    needs=("torch",),
    patience=120,
)
def gpus(options: DoctorOptions) -> tuple[Status, str] | tuple[Status, str, str]:
    import torch

    build = f"torch for CUDA {torch.version.cuda}" if torch.version.cuda else "torch without CUDA"
    there, driver = _nvidia_smi()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if not usable:
        if not there:
            return Status.OK, f"none: training takes the CPU; {build}"
        if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
            return Status.OK, f"{len(there)}, hidden by CUDA_VISIBLE_DEVICES: training takes the CPU"
        reason = f": {said[0].message}" if said else ""
        return Status.WARNING, f"{len(there)} with driver {driver}, which {build} does not use{reason}"
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    for number, name in enumerate(names):
        try:
            int(torch.ones(2, device=f"cuda:{number}").sum())
        except RuntimeError as error:
            return Status.BROKEN, f"cuda:{number} ({name}) does not compute: {str(error).splitlines()[0]}"
    return (
        Status.OK,
        f"{len(names)} ({', '.join(dict.fromkeys(names))}), driver {driver or 'unknown'}; {build}",
    )


def _nvidia_smi() -> tuple[list[str], str]:
    """The GPUs that the driver knows, and its version; nothing where there is no driver."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return [], ""
    rows = [line.rsplit(", ", 1) for line in done.stdout.splitlines() if ", " in line]
    return [name for name, _ in rows], rows[0][1] if rows else ""


@check(
    "torch.distributed",
    "Processes talk to each other through gloo on the CPU, and through NCCL on GPUs.",
    "`pip install --upgrade torch`; its builds for CUDA bring NCCL along.",
    needs=("torch",),
)
def distributed(options: DoctorOptions) -> tuple[Status, str]:
    import torch
    import torch.distributed as dist

    if not dist.is_available():
        return Status.WARNING, "this torch is built without: a run is one process"
    nccl = dist.is_nccl_available()
    version = f" {'.'.join(map(str, torch.cuda.nccl.version()))}" if nccl and torch.version.cuda else ""
    found = f"gloo, NCCL{version}" if nccl else "gloo, no NCCL"
    return Status.WARNING if torch.cuda.device_count() > 1 and not nccl else Status.OK, found


@check(
    "shared memory",
    "Worker processes of `data.loader: torch` hand their batches over in /dev/shm, and so do NCCL's ranks "
    "and Ray. A container has 64 MB of it unless told otherwise, which ends in `Bus error` or `No space "
    "left on device`.",
    "`docker run --shm-size 1g ...` (compose: `shm_size: 1gb`; Kubernetes: an emptyDir of medium Memory at "
    "/dev/shm); on a machine itself: `sudo mount -o remount,size=8G /dev/shm`.",
)
def shared_memory(options: DoctorOptions) -> tuple[Status, str]:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Status.WARNING, "/dev/shm is not there"
    usage = shutil.disk_usage(folder)
    found = f"{size(usage.free)} free of {size(usage.total)}"
    needed = _bytes_of_workers(options)
    if usage.free < needed:
        return Status.BROKEN, f"{found}; the workers' batches of this run need {size(needed)}"
    if usage.free < SHARED_MEMORY:
        return Status.WARNING, f"{found}; {size(SHARED_MEMORY)} is enough for several ranks"
    return Status.OK, found


def _bytes_of_workers(options: DoctorOptions) -> int:
    """Bytes of the batches that DataLoader's workers hold ready, two each, on this machine."""
    from sadp_dist.data import DATASETS

    config = options.config
    if config is None or config.data.loader != "torch":
        return 0
    dataset = DATASETS.get(config.data.dataset or "")
    example = 3 * config.data.image_size**2
    if dataset is not None and dataset.kind != "images":
        example = 4 * math.prod(dataset.shape)
    batch = config.training.batch_size // config.training.accumulate * example
    return 2 * config.data.workers * batch  # a batch is all ranks' together


@check(
    "open files",
    "A process has a file open for every connection, worker and shared batch. Where too few are allowed, it "
    "ends with `Too many open files`.",
    "`ulimit -n 65536` before the job; for good, `* - nofile 65536` in /etc/security/limits.conf (systemd: "
    "`LimitNOFILE=65536`; Docker: `--ulimit nofile=65536`).",
)
def open_files(options: DoctorOptions) -> tuple[Status, str]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Status.OK, "no limit"
    more = "" if hard == resource.RLIM_INFINITY else f" ({hard:,} if asked for)"
    found = f"at most {soft:,} in a process{more}"
    if soft >= OPEN_FILES:
        return Status.OK, found
    return Status.BROKEN if soft < FEW_OPEN_FILES else Status.WARNING, found


@check(
    "clock",
    "What several machines write down is compared by their clocks. What the store decides does not depend "
    "on them.",
    "`sudo timedatectl set-ntp true`.",
)
def clock(options: DoctorOptions) -> tuple[Status, str]:
    command = ["timedatectl", "show", "--property", "NTPSynchronized", "--value"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError):
        return Status.OK, "nothing here says whether it is set by NTP"  # a container has its host's clock
    if done.stdout.strip() == "no":
        return Status.WARNING, "not set by NTP"
    return Status.OK, "set by NTP"


@check(
    "temporary files",
    "torch, FFCV and Ray write files of some megabytes into the folder for temporary files.",
    "`export TMPDIR=FOLDER`, one that can be written to and has room.",
)
def temporary_files(options: DoctorOptions) -> tuple[Status, str]:
    try:
        folder = Path(tempfile.gettempdir())  # tries each by writing
    except FileNotFoundError as error:
        return Status.BROKEN, str(error)
    free = shutil.disk_usage(folder).free
    return Status.OK if free >= FREE_FOR_FILES else Status.WARNING, f"{folder} has {size(free)} free"


@check(
    "compiled code",
    "numba keeps the machine code that it makes of sadp_dist's loops, beside the package or in the home "
    "folder. Where it can write to neither, nothing starts: `cannot cache function ... no locator "
    "available`.",
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
    return Status.OK, f"kept in {one.stats.cache_path}"


def size(count: float) -> str:
    """A number of bytes, to read."""
    return f"{count / GIB:,.1f} GiB" if count >= GIB else f"{count / 2**20:,.0f} MiB"
