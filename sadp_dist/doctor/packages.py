"""Checks of Python and of the required and optional packages."""

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
"""Seconds for an import. From a cold network disk, torch takes a minute."""


@check(
    "Python",
    "sadp_dist requires Python 3.11 or later.",
    "Create an environment with a newer Python: `python3.11 -m venv .venv`.",
)
def python(options: DoctorOptions) -> tuple[Status, str]:
    state = Status.OK if sys.version_info >= (3, 11) else Status.BROKEN
    return state, f"{platform.python_version()} on {platform.platform()}"


@dataclass(frozen=True)
class Package:
    """A package to check, or several that are used together.

    Attributes:
        name: of the check.
        used_for: what does not work without it.
        imports: the module to import by the name of its pip package; by default ``name`` for both.
        extra: the extra of sadp_dist that installs it; None for a package of the core.
        optional: whether training works without this package of the core.
        needs: names of the checks of packages that it imports.
        first: shell command to run before pip can install it.
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
        """The module to import by the name of its pip package."""
        return self.imports or {self.name: self.name}

    def register(self) -> None:
        """Register the check of this package."""
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
            except Exception as error:  # a broken binary package can raise anything
                problem = f"{name} {version} cannot be imported: {str(error) or type(error).__name__}"
                again = f"`{self.first}pip install --force-reinstall {name}`"
                return Status.BROKEN if needed else Status.WARNING, problem, again
            wanted = _other_version_wanted(name, version)
            if wanted is not None:
                return (
                    Status.WARNING,
                    f"{name} {version}; sadp_dist requires {wanted}",
                    f"`pip install '{wanted}'`",
                )
            found.append(version if name == self.name else f"{name} {version}")
        return Status.OK, ", ".join(found)


def _other_version_wanted(name: str, version: str) -> str | None:
    """Return the requirement that the installed version violates, such as "torch>=2.6", else None."""
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
    Package("numpy", "selection and the store"),
    Package("numba", "the compiled parts of selection and the store"),
    Package("torch", "networks, scores and training", {"torch": "torch.distributed"}),
    Package("torchvision", "`data.loader: torch` and most networks", optional=True, needs=("torch",)),
    Package(
        "spikingjelly",
        "spiking neurons and networks",
        {"spikingjelly": "spikingjelly.activation_based.layer"},
        needs=("torch",),
    ),
    Package(
        "tensorboard",
        "live training curves",
        {"tensorboard": "torch.utils.tensorboard"},
        needs=("torch",),
    ),
    Package("configurations", "reading configurations", {"pydantic": "pydantic", "PyYAML": "yaml"}),
    Package(
        "figures",
        "images, contact sheets and reports",
        {"pillow": "PIL.Image", "matplotlib": "matplotlib.figure", "jinja2": "jinja2"},
    ),
    Package("scipy", "reading .wav files", {"scipy": "scipy.io"}),
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
    Package(
        "huggingface",
        "the Hugging Face trainer",
        {"transformers": "transformers", "accelerate": "accelerate"},
        extra="huggingface",
        needs=("torch",),
    ),
    Package("lightning", "the Lightning callback", extra="lightning", needs=("torch",)),
    Package("shd", "the dataset Spiking Heidelberg Digits", {"h5py": "h5py"}, extra="shd"),
    Package("parquet", "parquet datasets", {"pyarrow": "pyarrow.parquet"}, extra="parquet"),
    Package("wandb", "training curves in Weights & Biases", extra="wandb"),
    Package(
        "mlflow",
        "training curves in MLflow",
        {"mlflow-skinny": "mlflow", "alembic": "alembic", "sqlalchemy": "sqlalchemy"},
        extra="mlflow",
    ),
    Package("digits", "the demo's images", {"scikit-learn": "sklearn.datasets"}, extra="digits"),
)

for package in PACKAGES:
    package.register()
