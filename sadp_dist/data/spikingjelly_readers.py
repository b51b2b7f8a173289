"""Import SpikingJelly's readers of event files without the rest of `spikingjelly.datasets`.

That package imports all of its datasets, audio included, and fails if torchaudio does not match torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType

from sadp_dist.errors import UsageError

PACKAGE = "spikingjelly.datasets"


def reader(name: str) -> ModuleType:
    """Return a module of `spikingjelly.datasets`, such as "utils".

    Raises:
        UsageError: the module cannot be imported.
    """
    try:
        if PACKAGE in sys.modules:
            return import_module(f"{PACKAGE}.{name}")
        spec = find_spec(PACKAGE)
        assert spec is not None
        sys.modules[PACKAGE] = module_from_spec(
            spec
        )  # a package to find modules in, whose own code is not run
        try:
            return import_module(f"{PACKAGE}.{name}")
        finally:
            del sys.modules[PACKAGE]  # other code that imports it gets all of it
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"SpikingJelly's reader of event files cannot be imported: {reason}") from error
