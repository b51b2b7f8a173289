"""The terminal output of a run: a progress bar for the epoch, and a line per finished epoch."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from sadp_dist.selection import Shard
from sadp_dist.terminal import Console
from sadp_dist.time_saved import time_saved_in_words
from sadp_dist.training.achieved import differ_clearly, ratios_in_words
from sadp_dist.training.device_sums import DeviceSums
from sadp_dist.training.phases import Phases


class Progress:
    """The output of rank 0; with ``enabled=False``, and on other ranks, it does nothing.

    On a terminal, the bar is redrawn a few times per second. In a log file, there are only lines of epochs.
    """

    def __init__(
        self,
        name: str,
        epochs: int,
        enabled: bool = True,
        console: Console | None = None,
        phases: Phases | None = None,
    ) -> None:
        self.console = console or Console(highlight=False)
        self.enabled = enabled
        self._name, self._epochs, self._phases = name, epochs, phases
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not (enabled and self.console.is_terminal),
        )
        self._task = self._bars.add_task(name, status="")

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def epoch_started(self, epoch: int, shard: Shard, sums: DeviceSums, done: int, batches: int) -> None:
        self._kept = f"kept {shard.drawn:,} of {shard.dataset_size:,}"
        self._started, self._drawn_at = time.perf_counter(), 0.0
        self._examples_before = sums.recent()[-1]  # more than 0 in a resumed epoch
        self._bars.reset(
            self._task,
            description=f"{self._name}  {self._place(epoch)}",
            total=batches,
            completed=done,
            status=self._kept,
        )
        if self.enabled and shard.drawn == 0:
            self.console.print(f"{self._place(epoch)}  empty, because its pruning ratio is {shard.ratio:g}")

    def batch_done(self, sums: DeviceSums) -> None:
        if self._bars.disable:
            return
        now = time.perf_counter()
        if now - self._drawn_at > 0.25:
            self._drawn_at = now
            loss, hits, examples = sums.recent()
            if examples:
                speed = (examples - self._examples_before) / (now - self._started)
                figures = f"loss {loss / examples:.3f}  accuracy {hits / examples:6.2%}"
                self._bars.update(
                    self._task, status=f"{figures}  {self._kept}  {speed:,.0f} images/s per rank"
                )
        self._bars.update(self._task, advance=1)

    def epoch_done(self, record: dict[str, Any]) -> None:
        if not self.enabled:
            return
        parts = [self._place(record["epoch"], width=3)]
        if record["examples"]:
            parts.append(f"loss {record['loss']:.4f}  train {record['train_accuracy']:6.2%}")
        if "test_accuracy" in record:
            parts.append(f"test {record['test_accuracy']:6.2%}")
        if "connectivity" in record:
            parts.append(f"connectivity {record['connectivity']:6.2%}")
        parts += [self._kept, f"{record['images_per_second']:,.0f} images/s", f"{record['seconds']:.1f} s"]
        self.console.print("  ".join(parts), markup=False, soft_wrap=True)

    def run_done(self, summary: dict[str, Any]) -> None:
        """Print the achieved pruning ratio, as a warning if it is clearly another one, and the time saved."""
        if not self.enabled:
            return
        said = ratios_in_words(summary)
        if differ_clearly(summary):
            said = f"warning: {said}"
        self.console.print(said, markup=False, soft_wrap=True)
        if (saved := time_saved_in_words(summary)) is not None:
            self.console.print(f"time saved: {saved}", markup=False, soft_wrap=True)

    def _place(self, epoch: int, width: int = 1) -> str:
        phase = self._phases.at(epoch).in_words if self._phases is not None else ""
        return f"{phase}{', ' if phase else ''}epoch {epoch + 1:>{width}}/{self._epochs}"
