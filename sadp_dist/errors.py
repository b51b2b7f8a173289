"""Errors whose cause the user can fix. The command line prints each as one line."""

from __future__ import annotations


class UsageError(ValueError):
    """An option, configuration value or argument is wrong. The message is one line that says what to do."""


class AgreedError(UsageError):
    """A usage error that every rank raises alike. Only the first rank of each machine prints it."""


class MissingExtra(UsageError, ImportError):
    """The package that an optional part needs is not installed.

    Args:
        package: the import name.
        extra: the extra of this project that installs the package.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'sadp_dist[{extra}]'")


class StoreUnavailable(RuntimeError):
    """The store cannot be reached. The message is one line that says where to look."""


class TrainingDiverged(RuntimeError):
    """The loss or its gradient is not finite."""


class CannotWrite(RuntimeError):
    """A file of a run cannot be written, such as on a full disk. The message is one line that names it."""


class Stopped(RuntimeError):
    """A signal ended the run after a step. Every rank raises it; the message says where the run is saved.

    Args:
        message: one line.
        signal: its number.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
