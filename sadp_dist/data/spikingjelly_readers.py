"""SpikingJelly's readers of event files, without the rest of its `datasets`.

That package imports all of its datasets at once, of sound too, and so fails wherever torchaudio does not fit
torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType

from sadp_dist.errors import UsageError

PACKAGE = "spikingjelly.datasets"


def reader(name: str) -> ModuleType:
    """A module of `spikingjelly.datasets`, such as "utils".

    Raises:
        UsageError: it cannot be imported.
    """
    try:
        if PACKAGE in sys.modules:
            return import_module(f"{PACKAGE}.{name}")
        spec = find_spec(PACKAGE)
        assert spec is not None
        sys.modules[PACKAGE] = module_from_spec(spec)  # a place to look for modules in, and nothing else
        try:
            return import_module(f"{PACKAGE}.{name}")
        finally:
            del sys.modules[PACKAGE]  # who imports it gets the whole
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"SpikingJelly's reader of events cannot be imported here: {reason}") from error
