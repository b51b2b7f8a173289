"""What the machine has: device, driver, versions, and what is missing."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import torch

from sadp_dist.selftest.part import MACHINE, Figures
from sadp_dist.selftest.setting import Setting

PACKAGES = ("torch", "torchvision", "triton", "spikingjelly", "numpy", "numba")
OPTIONAL = {
    "ffcv": "FFCV to the device",
    "torchvision": "ResNets, AutoAugment",
    "triton": "SpikingJelly's Triton kernels, torch.compile",
    "cupy": "SpikingJelly 1's CuPy kernels",
    "opacus": "Opacus beside the scores",
}
"""What some checks need. The other packages of a plain installation are always there."""


@MACHINE.check("machine")
def machine(setting: Setting) -> Figures:
    """Return the device and the versions, and compute on the device once."""
    facts: Figures = {"device": platform.processor() or platform.machine()}
    if setting.on_gpu:
        properties = torch.cuda.get_device_properties(setting.device)
        torch.ones(2, device=setting.device).sum().item()
        facts = {
            "device": properties.name,
            "compute capability": f"{properties.major}.{properties.minor}",
            "memory, GiB": properties.total_memory / 2**30,
            "driver": _driver(),
            "CUDA of torch": str(torch.version.cuda),
            "cuDNN": str(torch.backends.cudnn.version()),
            "NCCL": ".".join(map(str, torch.cuda.nccl.version())),
        }
    facts |= {"cores": len(os.sched_getaffinity(0)), "Python": platform.python_version()}
    facts |= {name: found for name in PACKAGES if (found := _version(name)) is not None}
    missing = [f"{name} ({use})" for name, use in OPTIONAL.items() if find_spec(name) is None]
    if setting.data is None:
        missing.append("cifar10.zip (the promise)")
    return {**facts, "missing": "; ".join(missing) or "nothing"}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.split("\n")[0].strip()
