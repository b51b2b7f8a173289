"""Decode arrays in FFCV's compiled pipeline, as bytes, because numba does not know every dtype.

The compiled code is then the same for every shape and dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sadp_dist.errors import MissingExtra
from sadp_dist.loading.ffcv_import import importing_ffcv

try:
    with importing_ffcv():
        from ffcv.fields.ndarray import NDArrayDecoder
        from ffcv.libffcv import memcpy
        from ffcv.pipeline.allocation_query import AllocationQuery
        from ffcv.pipeline.compiler import Compiler
        from ffcv.pipeline.operation import Operation
        from ffcv.pipeline.state import State
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error


class ArrayBytes(NDArrayDecoder):
    """Decodes each array of a batch to its bytes, uint8 (B, bytes); `ToArrays` follows."""

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        shape, dtype = (int(self.field.element_size),), np.dtype(np.uint8)
        return replace(previous_state, jit_mode=True, shape=shape, dtype=dtype), AllocationQuery(shape, dtype)

    def generate_code(self) -> Callable[..., Any]:
        examples, read, copy = Compiler.get_iterator(), self.memory_read, Compiler.compile(memcpy)

        def decode(batch_indices: Any, arrays: Any, metadata: Any, storage_state: Any) -> Any:
            for row in examples(len(batch_indices)):
                copy(read(metadata[batch_indices[row]], storage_state)[: arrays.shape[1]], arrays[row])
            return arrays[: len(batch_indices)]

        decode.is_parallel = True  # type: ignore[attr-defined]
        return decode


class ToArrays(Operation):
    """Views bytes (B, bytes) as tensors (B, *shape), without a copy."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        super().__init__()
        self._shape, self._dtype = shape, torch.from_numpy(np.empty(0, dtype)).dtype

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, None]:
        return replace(previous_state, jit_mode=False, shape=self._shape, dtype=self._dtype), None

    def generate_code(self) -> Callable[..., Any]:
        shape, dtype = self._shape, self._dtype

        def to_arrays(values: Any, _: Any) -> Tensor:
            return torch.from_numpy(values).view(dtype).view(len(values), *shape)

        return to_arrays
