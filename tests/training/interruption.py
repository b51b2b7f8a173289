"""A run that stops in the middle of an epoch, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from sadp_dist.training.learner import Learner


class Interrupted(Exception):
    """Raised in place of a batch."""


@contextmanager
def interrupted_after(batches: int) -> Iterator[None]:
    """What runs within ends when so many batches have been learned."""
    learn, seen = Learner.learn, 0

    def learn_until(*args, **kwargs):
        nonlocal seen
        seen += 1
        if seen > batches:
            raise Interrupted
        return learn(*args, **kwargs)

    with pytest.raises(Interrupted), patch.object(Learner, "learn", learn_until):
        yield
