"""The distributions that pip gets: what is in them, and what works where torch is not installed."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement

import sadp_dist

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "torchvision", "spikingjelly", "tensorboard", "matplotlib", "pillow"}


def project_files() -> set[str]:
    """What is in the repository, or would be with the next commit."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("this is not a checkout")
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


@dataclass(frozen=True)
class Distributions:
    """A source distribution, and the wheel that was built from it."""

    source: Path
    wheel: Path

    @property
    def files_of_source(self) -> set[str]:
        with tarfile.open(self.source) as archive:
            return {member.name.partition("/")[2] for member in archive if member.isfile()}

    @property
    def files_of_wheel(self) -> set[str]:
        return set(zipfile.ZipFile(self.wheel).namelist())

    @property
    def metadata(self) -> Message:
        name = next(name for name in self.files_of_wheel if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(zipfile.ZipFile(self.wheel).read(name).decode())


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Built from a copy of the project, in which nothing is left behind, by the setuptools that is here."""
    project, out = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("dist")
    for name in project_files():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run(build, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Distributions(next(out.glob("*.tar.gz")), next(out.glob("*.whl")))


@pytest.mark.slow
def test_twine_has_nothing_to_say_against_them(distributions):
    twine = [sys.executable, "-m", "twine", "check", "--strict", distributions.source, distributions.wheel]
    done = subprocess.run(twine, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_the_wheel_holds_the_package_with_all_its_files_and_nothing_else(distributions):
    package = {name for name in project_files() if name.startswith("sadp_dist/")}
    assert {"sadp_dist/py.typed", "sadp_dist/dashboard/page/index.html"} <= package
    assert {name for name in distributions.files_of_wheel if ".dist-info/" not in name} == package
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in distributions.files_of_wheel)


def test_the_source_distribution_holds_the_project(distributions):
    beside = {name for name in project_files() if name.startswith((".git", ".pre-commit"))}
    assert project_files() - beside <= distributions.files_of_source


def test_the_version_stands_in_one_place(distributions):
    assert distributions.metadata["Version"] == sadp_dist.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == sadp_dist.__version__


def test_what_pypi_shows(distributions):
    metadata = distributions.metadata
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    python = {
        text.rpartition(" ")[2] for text in metadata.get_all("Classifier", []) if ":: Python :: 3." in text
    }
    assert {"3.11", "3.12", "3.13"} <= python


@pytest.fixture(scope="module")
def light(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sadp-dist of an environment with the wheel and what it needs, but for torch and what else is heavy.

    What it needs is linked from this environment, so that nothing is downloaded.
    """
    folder = tmp_path_factory.mktemp("light")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    needed = {
        Requirement(text).name
        for text in distributions.metadata.get_all("Requires-Dist", [])
        if ";" not in text
    }
    assert needed > HEAVY
    for name in closure(needed - HEAVY):
        link(name, site)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", "--no-deps", distributions.wheel], check=True)
    return folder / "bin" / "sadp-dist"


def closure(names: set[str]) -> Iterator[str]:
    """Packages and all that they need."""
    waiting, seen = sorted(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        yield name
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)


def link(name: str, site: Path) -> None:
    """Put a package of this environment into another one."""
    distribution = importlib.metadata.distribution(name)
    for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
        target = site / top
        if not target.exists():
            target.symlink_to(Path(str(distribution.locate_file(top))))


def call(command: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "200", "HOME": str(command.parent)}
    return subprocess.run(
        [command, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=240, cwd="/"
    )


@pytest.mark.slow
def test_without_torch_there_is_help_and_doctor_says_what_is_missing(light):
    overview = call(light, "--help")
    assert overview.returncode == 0, overview.stderr
    assert "doctor" in overview.stdout
    assert call(light, "--version").stdout.strip() == sadp_dist.__version__
    done = call(light, "doctor")
    assert done.returncode == 1, done.stderr
    assert "broken  torch: torch is not installed" in done.stdout
    assert "to fix: `pip install sadp_dist`" in done.stdout
    assert "absent  ray: ray is not installed" in done.stdout
    assert "to install: `pip install 'sadp_dist[ray]'`" in done.stdout
    assert "ok  numba: " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_without_torch_selection_and_a_store_work_and_saved_ones_can_be_read(light, tmp_path):
    script = (
        "import sadp_dist, sys, pathlib\n"
        f"assert not pathlib.Path(sadp_dist.__file__).is_relative_to({str(ROOT)!r})\n"
        "pruning = sadp_dist.PruningConfig(ratio=0.5, epochs=2)\n"
        "print(sadp_dist.selection.selection_probabilities([1.0, 2.0, 3.0], 1).sum())\n"
    )
    done = call(light.with_name("python"), "-c", script)
    assert (done.returncode, done.stdout) == (0, "1.0\n"), done.stderr
    store = sadp_dist.connect("memory:", "saved", 100, sadp_dist.PruningConfig(ratio=0.5, epochs=2))
    store.push(np.arange(100), np.arange(100, dtype=np.float32), epoch=0)
    store.save(tmp_path / "store.npz")
    stats = call(light, "stats", "--store", tmp_path / "store.npz")
    assert stats.returncode == 0, stats.stderr
    assert "100 (100.0%)" in stats.stdout
    top = call(light, "top", "--store", tmp_path / "store.npz", "-k", "3")
    assert "99" in top.stdout


@pytest.mark.slow
def test_without_torch_training_stops_with_one_line(light):
    done = call(light, "train", ROOT / "configs" / "digits.yaml")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No module named 'torch'" in done.stderr
    assert "run sadp-dist doctor to see how to fix it" in done.stderr
