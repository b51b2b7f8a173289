"""Tests that need a GPU: they skip, with the reason, where there is none."""

from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
NEEDS_A_GPU = "test_on_gpu"
"""How the files begin whose tests need one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA GPU, and torch finds none")
        for item in items:
            if item.path.parent == HERE and item.path.name.startswith(NEEDS_A_GPU):
                item.add_marker(skip)
