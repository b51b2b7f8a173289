"""`sadp-dist ARGUMENTS` that waits to be killed, after the first checkpoint within an epoch and more steps.

python held.py EPOCH ARGUMENTS...

EPOCH counts from 0. A rank that torchrun has started again does not wait.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from sadp_dist.cli.main import main
from sadp_dist.training.checkpoint import Checkpoints

_SAVE = Checkpoints.save


def wait_before_the_second_in(held: int) -> None:
    """Make every rank wait where it would write the second checkpoint within an epoch."""
    saved = 0

    def save(
        self: Checkpoints, process: Any, store: Any, epoch: int, batch: int, state: dict[str, Any]
    ) -> None:
        nonlocal saved
        within = epoch == held and batch > 0
        if within and saved:
            signal.pause()
        saved += within
        _SAVE(self, process, store, epoch, batch, state)

    Checkpoints.save = save  # type: ignore[method-assign]


if __name__ == "__main__":
    held = int(sys.argv.pop(1))
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        wait_before_the_second_in(held)
    main()
