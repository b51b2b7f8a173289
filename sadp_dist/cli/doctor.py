"""``sadp-dist doctor``."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import shutil
import subprocess
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Part:
    """Something that may be installed, what it is for, and how to get it."""

    name: str
    needed_for: str
    how: str
    required: bool = True


PACKAGES = (
    Part("torch", "everything", "pip install torch"),
    Part("torchvision", "SpikingJelly's networks", "pip install torchvision"),
    Part("spikingjelly", "spiking neurons and networks", "pip install spikingjelly"),
    Part("numba", "selection", "pip install numba"),
    Part("tensorboard", "curves while a run trains", "pip install tensorboard"),
    Part(
        "ffcv",
        "loader: ffcv, sadp-dist beton",
        "apt-get install pkg-config libopencv-dev libturbojpeg0-dev g++; pip install 'sadp_dist[ffcv]'",
        False,
    ),
    Part("ray", "stores at ray:", "pip install 'sadp_dist[ray]'", False),
    Part("redis", "stores at redis:", "pip install 'sadp_dist[redis]'", False),
    Part("pyarrow", "parquet sources", "pip install 'sadp_dist[parquet]'", False),
    Part("sklearn", "the digits of the demo", "pip install 'sadp_dist[digits]'", False),
)
_DISTRIBUTION = {"sklearn": "scikit-learn"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say what is installed and works, what is missing, and how to get it.

    Exit status 1 if something is missing without which nothing trains.
    """
    console = Console(highlight=False)
    machine = _machine()  # first, for importing FFCV changes the number of threads
    found = [(part, *_import(part.name)) for part in PACKAGES]
    if as_json:
        packages = {part.name: {"version": version, "problem": problem} for part, version, problem in found}
        console.print_json(data={"packages": packages, **machine})
    else:
        table = Table(title="sadp-dist doctor", title_justify="left")
        for column in ("part", "version", "needed for", "state"):
            table.add_column(column, overflow="fold")
        for part, version, problem in found:
            state = f"[red]{escape(problem)}[/]; get it: {escape(part.how)}" if problem else "[green]works[/]"
            table.add_row(part.name, version or "-", part.needed_for, state)
        console.print(table)
        for name, value in machine.items():
            console.print(f"{name}: {value}", markup=False)
    if any(problem and part.required for part, _, problem in found):
        raise typer.Exit(1)


def _import(name: str) -> tuple[str | None, str | None]:
    """Version, and why the package does not import (None if it does)."""
    try:
        version = importlib.metadata.version(_DISTRIBUTION.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return None, "missing"
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken binary package fails in any way it likes
        return version, f"does not import ({' '.join(str(error).split())})"
    return version, None


def _machine() -> dict[str, Any]:
    facts: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    try:
        import torch
        import torch.distributed as dist
    except Exception:
        return facts
    facts["CPU threads"] = torch.get_num_threads()
    facts["GPUs"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or "none"
    backends = [name for name in ("gloo", "nccl") if dist.is_available() and dist.is_backend_available(name)]
    facts["torch.distributed"] = ", ".join(backends) or "not available"
    redis = shutil.which("redis-server")
    if redis:
        version = subprocess.run([redis, "--version"], capture_output=True, text=True, check=False).stdout
        facts["redis-server"] = next(
            (w[2:] for w in version.split() if w.startswith("v=")), "unknown version"
        )
    return facts
