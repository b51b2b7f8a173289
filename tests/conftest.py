"""What tests of several folders share."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.forked import run_forked

ROOT = Path(__file__).parents[1]
# Ray's workers would give way to every other process of the machine, and so to all other tests.
os.environ.setdefault("RAY_worker_niceness", "0")
# torch.compile starts processes that import torch, to compile at the same time; the tests compile little.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

# How long an example takes, or to find one, says more about the machine than about the code.
hypothesis.settings.register_profile(
    "no deadline", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("no deadline")


# The files that take longest. They begin first, so that no worker is left alone with one at the end.
SLOWEST = [
    "selftest/test_rehearsal.py",
    "store/test_ray.py",
    "examples/test_examples.py",
    "docs/test_code.py",
    "training/test_dry_run.py",
    "dashboard/test_page.py",
    "reproduce/test_runs.py",
    "training/test_runs.py",
    "snn/test_networks.py",
    "training/test_resume.py",
    "launch/test_two_hosts.py",
    "launch/test_ray.py",
    "scoring/test_training.py",
    "doctor/test_machine.py",
    "store/test_redis_planner.py",
    "docs/test_site.py",
    "test_stores_document.py",
    "training/test_every_rule.py",
    "cli/test_commands.py",
    "doctor/test_run.py",
    "dashboard/test_faults.py",
    "launch/test_clusters_document.py",
    "cli/test_rendezvous.py",
    "dashboard/test_schema.py",
]


def pytest_collection_finish() -> None:
    """Spare the garbage collector what is imported by now, half a million objects each time it looks."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {ROOT / "tests" / name: place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: places.get(item.path, len(SLOWEST)))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the digits' images, which has the splits train and test; to be left as it is."""
    folder = tmp_path_factory.mktemp("digits") / "images"
    script = ROOT / "examples" / "digits_images.py"
    done = run_forked([script, folder])
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def registries_restored() -> Iterator[None]:
    """Take what the test registers out of all registries again, so that later tests do not find it."""
    from sadp_dist.data import DATASETS
    from sadp_dist.scoring.config import SCORES
    from sadp_dist.selection import RULES
    from sadp_dist.snn.compression import COMPRESSIONS
    from sadp_dist.snn.learning import LEARNING_RULES
    from sadp_dist.snn.models.config import NETWORKS
    from sadp_dist.snn.neurons import NEURONS
    from sadp_dist.store import BACKENDS

    registries = (BACKENDS, COMPRESSIONS, DATASETS, LEARNING_RULES, NETWORKS, NEURONS, RULES, SCORES)
    before = [set(registry) for registry in registries]
    yield
    for registry, names in zip(registries, before, strict=True):
        for name in set(registry) - names:
            del registry[name]
