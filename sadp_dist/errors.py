"""What can go wrong for a reason that a person can mend; the command line prints each as one line."""

from __future__ import annotations


class UsageError(ValueError):
    """What a person typed, configured or passed is wrong; the message is one line that says what to do."""


class AgreedError(UsageError):
    """A mistake that every rank of a job has been told of and raises alike, so that one of them says it."""


class MissingExtra(UsageError, ImportError):
    """A part was asked for whose package is not installed.

    Args:
        package: the name as one imports it.
        extra: the extra of this project that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'sadp_dist[{extra}]'")


class StoreUnavailable(RuntimeError):  # what it says, not what went wrong
    """The place where the scores live cannot be reached. The message is one line that says where to look."""


class TrainingDiverged(RuntimeError):
    """The loss or its gradient is no longer a finite number."""
