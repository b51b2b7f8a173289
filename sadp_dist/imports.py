"""Imports the user's own modules, which register rules, scores, networks and so on."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from sadp_dist.errors import UsageError


def import_modules(names: Iterable[str]) -> None:
    """Import modules by name, from the installed packages and from the current directory.

    Raises:
        UsageError: a module cannot be imported; the message names it and the reason.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    for name in names:
        try:
            import_module(name)
        except Exception as error:  # whatever the user's code raises
            if isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]:
                reason = f"no such module in {here} or among the installed packages"
            elif isinstance(error, UsageError):
                reason = str(error)
            else:
                reason = f"{type(error).__name__}: {error}"
            raise UsageError(f"imports: cannot import {name!r} ({' '.join(reason.split())})") from error
