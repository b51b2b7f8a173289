"""`sadp-dist ARGUMENTS` of which one rank gets a signal while it trains a batch.

python stopped.py SIGNAL RANK EPOCH BATCH ARGUMENTS...     counted from 0
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from sadp_dist.cli.main import main
from sadp_dist.training.trainer import Trainer

_TRAIN_BATCH = Trainer.train_batch


def signal_at(number: int, rank: int, place: tuple[int, int]) -> None:
    """Raise the signal at a place of the run."""

    def train_batch(self: Trainer, *arguments: Any, **options: Any) -> None:
        if (self.epoch, self.batch) == place and self.process.rank == rank:
            os.kill(os.getpid(), number)
        _TRAIN_BATCH(self, *arguments, **options)

    Trainer.train_batch = train_batch  # type: ignore[method-assign]


if __name__ == "__main__":
    name, *place = sys.argv[1:5]
    del sys.argv[1:5]
    rank, epoch, batch = map(int, place)
    signal_at(signal.Signals[name], rank, (epoch, batch))
    main()
