"""Python, and the packages that sadp_dist is built on or can do more with."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sadp_dist.doctor.check import Status, check
from sadp_dist.doctor.options import DoctorOptions

PATIENCE = 120.0
"""Seconds for an import: from a cold network disk torch takes a minute."""


@check(
    "Python",
    "sadp_dist is written for Python 3.11 and later.",
    "Make an environment of a newer one: `python3.11 -m venv .venv`.",
)
def python(options: DoctorOptions) -> tuple[Status, str]:
    state = Status.OK if sys.version_info >= (3, 11) else Status.BROKEN
    return state, f"{platform.python_version()} on {platform.platform()}"


@dataclass(frozen=True)
class Package:
    """A package to look at, with others that are used together with it.

    Attributes:
        name: of the check.
        used_for: what does not work without it.
        imports: by the names that pip knows, what is imported to see whether it works; by default, its name.
        extra: which extra of sadp_dist installs it; None is the core, without which nothing trains.
        optional: of the core, but one can train without it.
        needs: packages without which it cannot be imported.
        first: what has to be done before pip can install it.
    """

    name: str
    used_for: str
    imports: Mapping[str, str] = field(default_factory=dict)
    extra: str | None = None
    optional: bool = False
    needs: tuple[str, ...] = ()
    first: str = ""

    @property
    def parts(self) -> Mapping[str, str]:
        """What is imported, by the names that pip knows."""
        return self.imports or {self.name: self.name}

    def register(self) -> None:
        """Make it a check."""
        pip = f"pip install 'sadp_dist[{self.extra}]'" if self.extra else "pip install sadp_dist"
        check(
            self.name,
            f"`{'`, `'.join(self.parts)}`: for {self.used_for}.",
            f"`{self.first}{pip}`",
            needs=self.needs,
            patience=PATIENCE,
        )(self.look)

    def look(self, options: DoctorOptions) -> tuple[Status, str] | tuple[Status, str, str]:
        needed = not self.optional if self.extra is None else options.wants(self.extra)
        found: list[str] = []
        for name, module in self.parts.items():
            try:
                version = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                missing = f"{name} is not installed; it is for {self.used_for}"
                return Status.BROKEN if needed else Status.ABSENT, missing
            try:
                importlib.import_module(module)
            except Exception as error:  # a broken binary package fails in any way it likes
                problem = f"{name} {version} does not import: {str(error) or type(error).__name__}"
                again = f"`{self.first}pip install --force-reinstall {name}`"
                return Status.BROKEN if needed else Status.WARNING, problem, again
            wanted = _other_version_wanted(name, version)
            if wanted is not None:
                return (
                    Status.WARNING,
                    f"{name} {version}; sadp_dist is for {wanted}",
                    f"`pip install '{wanted}'`",
                )
            found.append(version if name == self.name else f"{name} {version}")
        return Status.OK, ", ".join(found)


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
    Package("numpy", "all arithmetic outside of the network"),
    Package("numba", "the compiled parts of selection and store"),
    Package("torch", "networks, scores and training", {"torch": "torch.distributed"}),
    Package(
        "torchvision", "`data.loader: torch` and networks but `small_cnn`", optional=True, needs=("torch",)
    ),
    Package(
        "spikingjelly",
        "spiking neurons and networks",
        {"spikingjelly": "spikingjelly.activation_based.layer"},
        needs=("torch",),
    ),
    Package(
        "tensorboard",
        "curves of a run while it trains",
        {"tensorboard": "torch.utils.tensorboard"},
        needs=("torch",),
    ),
    Package("configurations", "reading configurations", {"pydantic": "pydantic", "PyYAML": "yaml"}),
    Package(
        "figures",
        "images, contact sheets and reports",
        {"pillow": "PIL.Image", "matplotlib": "matplotlib.figure", "jinja2": "jinja2"},
    ),
    Package(
        "ffcv",
        "`data.loader: ffcv` and `sadp-dist beton`",
        extra="ffcv",
        needs=("torch", "numba"),
        first="sudo apt-get install pkg-config libopencv-dev libturbojpeg0-dev g++ && ",
    ),
    Package("redis", "stores at `redis:`", extra="redis"),
    Package("ray", "stores at `ray:`", {"ray": "ray", "fsspec": "fsspec"}, extra="ray"),
    Package(
        "dashboard",
        "`sadp-dist dashboard`",
        {
            "fastapi": "fastapi",
            "fastapi-offline": "fastapi_offline",
            "plotly": "plotly",
            "prometheus-client": "prometheus_client",
            "uvicorn": "uvicorn",
        },
        extra="dashboard",
    ),
    Package("lightning", "training loops of Lightning", extra="lightning", needs=("torch",)),
    Package("shd", "Spiking Heidelberg Digits", {"h5py": "h5py"}, extra="shd"),
    Package("parquet", "parquet sources", {"pyarrow": "pyarrow.parquet"}, extra="parquet"),
    Package("wandb", "curves at Weights & Biases", extra="wandb"),
    Package(
        "mlflow",
        "curves in MLflow",
        {"mlflow-skinny": "mlflow", "alembic": "alembic", "sqlalchemy": "sqlalchemy"},
        extra="mlflow",
    ),
    Package("digits", "the images of the demo", {"scikit-learn": "sklearn.datasets"}, extra="digits"),
)

for package in PACKAGES:
    package.register()
