"""The thread that carries what a rank pushes and records to a store in another process."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

import numpy as np

from sadp_dist.errors import StoreUnavailable, UsageError
from sadp_dist.store.client.journal import Journal
from sadp_dist.store.connection import Connection, Restarted, Unreachable, pauses, unavailable
from sadp_dist.store.engine.frames import Frame, index_dtype
from sadp_dist.store.engine.run import Figures, Records

FRAME = 2**16
"""Scores in a full frame; larger frames are not faster."""
AT_ONCE = 16
"""Largest number of frames in one `Connection.send`, so that a slow line shows progress."""
MAX_UNSENT = 2**23
"""Scores that may wait to be sent; beyond, `push` waits."""
LINGER = 0.05
"""Seconds that a frame waits for more scores."""
JOIN = 2.0
"""Seconds that `close` waits for a send that is under way."""


class Sender:
    """Sends copies of what is pushed or recorded, and keeps them until a plan shows that they are safe.

    The thread that pushes only fills the draft of a frame. One lock protects all state, and it is never held
    while something is sent.

    Args:
        connection: only this thread calls its `send`.
        dataset_size: N.
        timeout: seconds without an answer after which to give up.
        combines: an example's score depends on its scores of all earlier epochs; see `Journal`.

    Attributes:
        resends: how often the backend has come back with less than it had.
    """

    def __init__(
        self, connection: Connection, dataset_size: int, timeout: float, combines: bool = False
    ) -> None:
        self.resends = 0
        self._connection = connection
        self._timeout = timeout
        self._index_dtype = index_dtype(dataset_size)
        self._client = secrets.randbits(64)
        self._sequence = 0
        self._changed = threading.Condition()
        self._draft: _Draft | None = None
        self._figures: dict[int, Figures] = {}  # by epoch, not yet in a frame
        self._queue: deque[Frame] = deque()  # its first ones may be under way
        self._journal = Journal(dataset_size, combines)
        self._unsent = 0  # scores in draft and queue
        self._rejected = 0  # pushes refused, not yet in a frame
        self._under_way = False
        self._turn = 0  # grows whenever the queue is rebuilt
        self._flushes = self._flushed = 0  # requested, and done
        self._heard = time.monotonic()
        self._problem: Unreachable | None = None  # why the store has not answered; since when is next
        self._silent_since = self._heard
        self._pauses = pauses()
        self._failure: Exception | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sadp_dist sender", daemon=True)
        self._thread.start()

    # What the training thread calls

    def add(self, records: Records) -> None:
        """Copy one push. It waits only while `MAX_UNSENT` scores have not arrived.

        Raises:
            StoreUnavailable: the store could not be reached for `timeout` seconds.
        """
        taken = 0
        with self._changed:
            while True:
                if self._unsent >= MAX_UNSENT or self._failure is not None or self._closed:
                    self._wait(lambda: self._unsent < MAX_UNSENT)
                draft = self._draft_of(records.epoch)
                added = draft.take(records, taken)
                self._unsent += added
                taken += added
                if taken == len(records.indices):
                    draft.pushes += 1
                    return

    def record(self, figures: Figures) -> None:
        """Send an epoch's figures, instead of earlier ones of that epoch that have not been sent.

        Raises:
            StoreUnavailable: the store could not be reached for `timeout` seconds.
        """
        with self._changed:
            self._check_open()
            self._figures[figures.epoch] = figures
            self._changed.notify_all()

    def reject(self, pushes: int) -> None:
        """Make the store count pushes that were refused here."""
        with self._changed:
            self._rejected += pushes

    def flush(self) -> None:
        """Return once the store has everything that was added.

        Raises:
            StoreUnavailable: the store could not be reached for `timeout` seconds.
        """
        with self._changed:
            self._flushes += 1
            wanted = self._flushes
            self._changed.notify_all()
            self._wait(lambda: self._flushed >= wanted)

    def resend(self) -> None:
        """Send again what has arrived since the latest plan."""
        with self._changed:
            self._resend()

    def forget(self, before_epoch: int) -> None:
        """Drop scores of earlier epochs: they have gone into a plan, or came too late for one."""
        with self._changed:
            self._journal.forget(before_epoch)

    def clear(self) -> None:
        """Drop everything; on return, nothing is under way."""
        with self._changed:
            self._wait(lambda: not self._under_way)
            self._draft = None
            self._figures.clear()
            self._queue.clear()
            self._journal.clear()
            self._unsent = self._rejected = 0
            self._turn += 1
            self._changed.notify_all()

    def check(self) -> None:
        """Raise the error that ended the thread, if there is one."""
        if self._failure is not None:
            raise self._failure

    def close(self, patience: float = 0.0) -> int:
        """End the thread, after up to `patience` seconds for what has not arrived.

        Returns:
            How many scores have not arrived and are lost.
        """
        with self._changed:
            if self._closed:
                return 0
            if patience > 0 and (self._unsent or self._figures):
                self._flushes += 1
                wanted = self._flushes
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._flushed >= wanted or self._failure is not None, patience)
            self._closed = True
            self._changed.notify_all()
            lost = self._unsent
        self._thread.join(JOIN)
        return lost

    @property
    def answered(self) -> bool:
        """Whether the store has answered the latest try."""
        return self._failure is None and self._problem is None

    # Under the lock

    def _draft_of(self, epoch: int) -> _Draft:
        """The draft to fill: a new one if the present one is full or of another epoch."""
        if self._draft is None or self._draft.epoch != epoch or self._draft.full:
            self._seal()
            self._draft = _Draft(epoch, self._index_dtype)
            self._changed.notify_all()
        return self._draft

    def _seal(self) -> None:
        draft, self._draft = self._draft, None
        if draft is None and self._rejected:
            draft = _Draft(0, self._index_dtype)
        if draft is not None:
            rejected, self._rejected = self._rejected, 0
            self._enqueue(draft.pushes, draft.records(), rejected)

    def _seal_figures(self) -> None:
        for figures in self._figures.values():
            self._enqueue(0, figures)
        self._figures.clear()

    def _enqueue(self, pushes: int, content: Records | Figures, rejected: int = 0) -> None:
        self._sequence += 1
        self._queue.append(Frame(self._client, self._sequence, pushes, content, rejected))

    def _resend(self) -> None:
        self.resends += 1
        frames = self._journal.take()
        self._queue.extendleft(reversed(frames))
        self._unsent += sum(frame.count for frame in frames)
        self._turn += 1
        self._changed.notify_all()

    def _check_open(self) -> None:
        self.check()
        if self._closed:
            raise UsageError("this store is closed: connect() again, on every rank")

    def _wait(self, done: Callable[[], bool]) -> None:
        """Wait for the thread, as long as the store answers it at least every `timeout` seconds."""
        begun = time.monotonic()
        while True:
            self._check_open()
            if done():
                return
            left = max(begun, self._heard) + self._timeout - time.monotonic()
            if left <= 0:
                problem = self._problem or Unreachable("the store does not answer")
                raise unavailable(problem, self._timeout)
            self._changed.wait(left)

    # The thread

    def _run(self) -> None:
        try:
            while self._send_next():
                pass
        except (StoreUnavailable, UsageError) as error:  # the pushes were valid
            self._fail(StoreUnavailable(str(error)), error)
        except BaseException as error:
            self._fail(RuntimeError(f"scores cannot be sent: {type(error).__name__}: {error}"), error)

    def _fail(self, failure: Exception, cause: BaseException) -> None:
        failure.__cause__ = cause
        with self._changed:
            self._failure = failure
            self._under_way = False
            self._changed.notify_all()

    def _send_next(self) -> bool:
        """Send what there is to send; False once the store is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._draft is not None or self._figures or self._urgent())
            self._changed.wait_for(self._urgent, LINGER)
            if self._closed:
                return False
            self._seal()
            self._seal_figures()
            frames, turn, flushes = list(islice(self._queue, AT_ONCE)), self._turn, self._flushes
            if not frames and flushes == self._flushed:
                return True  # cleared while it waited for more scores
            self._under_way = True
        try:
            self._connection.send(frames)
        except Unreachable as problem:
            self._pause(problem)
        except Restarted:
            with self._changed:
                self._under_way = False
                self._resend()
        else:
            with self._changed:
                self._under_way = False
                self._acknowledge(frames, turn, flushes)
        return True

    def _urgent(self) -> bool:
        return bool(self._queue) or self._flushes > self._flushed or self._closed

    def _acknowledge(self, frames: list[Frame], turn: int, flushes: int) -> None:
        self._heard, self._problem = time.monotonic(), None
        self._pauses = pauses()
        if turn == self._turn:
            for frame in frames:
                self._queue.popleft()
                self._journal.add(frame)
                self._unsent -= frame.count
            if not self._queue:
                self._flushed = flushes
        self._changed.notify_all()

    def _pause(self, problem: Unreachable) -> None:
        now = time.monotonic()
        with self._changed:
            self._under_way = False
            self._changed.notify_all()
            if self._problem is None:
                self._silent_since = now
            self._problem = problem
            if now - self._silent_since > self._timeout:
                raise unavailable(problem, self._timeout) from problem
            self._changed.wait_for(lambda: self._closed, next(self._pauses))


class _Draft:
    """A frame that is being filled with pushes."""

    def __init__(self, epoch: int, dtype: np.dtype) -> None:
        self.epoch = epoch
        self.pushes = 0
        self._count = 0
        self._indices = np.empty(FRAME, dtype)
        self._scores = np.empty(FRAME, np.float32)

    @property
    def full(self) -> bool:
        return self._count == FRAME

    def take(self, records: Records, start: int) -> int:
        """Copy records from `start` on, as far as there is room; return how many."""
        indices = records.indices[start : start + FRAME - self._count]
        end = self._count + len(indices)
        self._indices[self._count : end] = indices
        self._scores[self._count : end] = records.scores[start : start + len(indices)]
        self._count = end
        return len(indices)

    def records(self) -> Records:
        """The copied records, in no more memory than they need."""
        if self.full:
            return Records(self._indices, self._scores, self.epoch)
        return Records(self._indices[: self._count].copy(), self._scores[: self._count].copy(), self.epoch)
