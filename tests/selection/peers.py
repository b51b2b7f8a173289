"""Other rules' own code, from checkouts of their authors' repositories."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest


def code_of_authors(path: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module at this path below the folder of checkouts; the test is skipped where it is not there."""
    file = Path(os.environ.get("SADP_DIST_PEERS") or ".", path)
    if not file.exists():
        pytest.skip(f"SADP_DIST_PEERS names no folder with a checkout that has {path}")
    from torch.utils.data.dataloader import _BaseDataLoaderIter

    monkeypatch.setattr(_BaseDataLoaderIter, "__next__", _BaseDataLoaderIter.__next__)  # which it replaces
    spec = importlib.util.spec_from_file_location(f"{file.stem}_of_its_authors", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module
