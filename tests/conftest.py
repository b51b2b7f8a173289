"""What tests of several folders share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Ray's workers would give way to every other process of the machine, and so to all other tests.
os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the digits' images, which has the splits train and test; to be left as it is."""
    folder = tmp_path_factory.mktemp("digits") / "images"
    script = ROOT / "examples" / "digits_images.py"
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
    return folder
