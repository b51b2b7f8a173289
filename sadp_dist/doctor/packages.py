"""Python, and the packages that sadp_dist is built on or can do more with."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import sys
from dataclasses import dataclass
from typing import Any

from sadp_dist.doctor.check import State, check
from sadp_dist.doctor.subject import Subject

PATIENCE = 120.0
"""Seconds for an import: from a cold network disk torch takes a minute."""


@check(
    "Python",
    "sadp_dist is written for Python 3.11 and later.",
    "Make an environment of a newer one: `python3.11 -m venv .venv`.",
)
def python(subject: Subject) -> tuple[State, str]:
    state = State.OK if sys.version_info >= (3, 11) else State.BROKEN
    return state, f"{platform.python_version()} on {platform.platform()}"


@dataclass(frozen=True)
class Package:
    """A package to look at.

    Attributes:
        name: as pip knows it.
        used_for: what does not work without it.
        modules: what is imported to see whether it works; its name by default.
        extra: which extra of sadp_dist installs it; None is the core, without which nothing trains.
        needs: packages without which it cannot be imported.
        first: what has to be done before pip can install it.
    """

    name: str
    used_for: str
    modules: tuple[str, ...] = ()
    extra: str | None = None
    needs: tuple[str, ...] = ()
    first: str = ""

    def register(self) -> None:
        """Make it a check."""
        pip = f"pip install 'sadp_dist[{self.extra}]'" if self.extra else f"pip install --upgrade {self.name}"
        check(
            self.name,
            f"The package `{self.name}`: {self.used_for}.",
            f"`{self.first}{pip}`",
            needs=self.needs,
            patience=PATIENCE,
        )(self.look)

    def look(self, subject: Subject) -> tuple[State, str] | tuple[State, str, str]:
        needed = self.extra is None or subject.wants(self.extra)
        try:
            version = importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:
            return State.BROKEN if needed else State.ABSENT, f"not installed; {self.used_for}"
        try:
            for module in self.modules or (self.name,):
                importlib.import_module(module)
        except Exception as error:  # a broken binary package fails in any way it likes
            said = str(error) or type(error).__name__
            return State.BROKEN if needed else State.WARNING, f"{version} does not import: {said}"
        wanted = _other_version_wanted(self.name, version)
        if wanted is not None:
            return State.WARNING, f"{version}; sadp_dist needs {wanted}", f"`pip install '{wanted}'`"
        return State.OK, version


def _other_version_wanted(name: str, version: str) -> str | None:
    """The requirement of sadp_dist that an installed version does not meet, such as "torch>=2.6"."""
    try:
        requirements = importlib.metadata.requires("sadp_dist") or []
        packaging: Any = importlib.import_module("packaging.requirements")
    except ImportError:
        return None
    for text in requirements:
        requirement = packaging.Requirement(text)
        if requirement.name == name and not requirement.specifier.contains(version, prereleases=True):
            return f"{name}{requirement.specifier}"
    return None


PACKAGES = (
    Package("numpy", "all arithmetic outside the network"),
    Package("numba", "the compiled parts of selection and store"),
    Package("torch", "networks, scores and training", ("torch", "torch.distributed")),
    Package("torchvision", "resizing of images, and SpikingJelly's networks", needs=("torch",)),
    Package(
        "spikingjelly",
        "spiking neurons and networks",
        ("spikingjelly.activation_based.neuron", "spikingjelly.activation_based.layer"),
        needs=("torch", "torchvision"),
    ),
    Package("tensorboard", "curves of a run while it trains", ("torch.utils.tensorboard",), needs=("torch",)),
    Package("pillow", "images", ("PIL.Image",)),
    Package("matplotlib", "figures and contact sheets", ("matplotlib.figure",)),
    Package("pydantic", "configurations"),
    Package("PyYAML", "configurations", ("yaml",)),
    Package(
        "ffcv",
        "`data.loader: ffcv`, `sadp-dist beton`",
        extra="ffcv",
        needs=("torch", "numba"),
        first="sudo apt-get install pkg-config libopencv-dev libturbojpeg0-dev g++ && ",
    ),
    Package("redis", "stores at `redis:`", extra="redis"),
    Package("ray", "stores at `ray:`", extra="ray"),
    Package("fsspec", "snapshots of stores at `ray:`", extra="ray"),
    Package("pyarrow", "parquet sources", ("pyarrow.parquet",), extra="parquet"),
    Package("scikit-learn", "the digits of the demo", ("sklearn.datasets",), extra="digits"),
    Package("fastapi", "`sadp-dist dashboard`", extra="dashboard"),
    Package("fastapi-offline", "`sadp-dist dashboard`", ("fastapi_offline",), extra="dashboard"),
    Package("plotly", "`sadp-dist dashboard`", extra="dashboard"),
    Package("prometheus-client", "`sadp-dist dashboard`", ("prometheus_client",), extra="dashboard"),
    Package("python-multipart", "`sadp-dist dashboard`", ("python_multipart",), extra="dashboard"),
    Package("uvicorn", "`sadp-dist dashboard`", extra="dashboard"),
    Package("wandb", "curves at Weights & Biases", extra="wandb"),
    Package("mlflow-skinny", "curves in MLflow", ("mlflow",), extra="mlflow"),
)

for package in PACKAGES:
    package.register()
