"""The two errors a person can cause; the command line prints them as one line and exits with status 2."""

from __future__ import annotations


class UsageError(ValueError):
    """What a person typed, configured or passed is wrong; the message is one line that says what to do."""


class MissingExtra(UsageError, ImportError):
    """A part was asked for whose package is not installed.

    Args:
        package: the name as one imports it.
        extra: the extra of this project that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'sadp_dist[{extra}]'")
