"""Measures the memory that autograd keeps for backward passes."""

from __future__ import annotations

from types import TracebackType

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


class BytesKept:
    """Counts the bytes of the tensors that autograd keeps for backward passes, inside a ``with``.

    A storage that several tensors share counts once. The count is the same on every device, and does not
    include temporary memory of layers.

    Attributes:
        most: maximum number of bytes kept at the same time.
    """

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._holders: dict[int, int] = {}  # by the address of a storage
        self._hooks = saved_tensors_hooks(lambda tensor: _Kept(self, tensor), lambda kept: kept.tensor)

    def __enter__(self) -> BytesKept:
        self._hooks.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._hooks.__exit__(kind, error, traceback)

    def keep(self, address: int, size: int) -> None:
        """Count a tensor of a storage."""
        self._holders[address] = self._holders.get(address, 0) + 1
        if self._holders[address] == 1:
            self._now += size
            self.most = max(self.most, self._now)

    def free(self, address: int, size: int) -> None:
        """Stop counting a tensor of a storage."""
        self._holders[address] -= 1
        if not self._holders[address]:
            self._now -= size


class _Kept:
    """A tensor that counts as long as autograd keeps it."""

    def __init__(self, count: BytesKept, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        # Detached, or a result that is kept for its own gradient would never be freed.
        self.tensor, self._count = tensor.detach(), count
        self._place = storage.data_ptr(), storage.nbytes()
        count.keep(*self._place)

    def __del__(self) -> None:
        self._count.free(*self._place)
