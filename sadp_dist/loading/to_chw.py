"""Convert images from (H, W, C) to (C, H, W) in FFCV's compiled pipeline.

FFCV's own `ToTorchImage(channels_last=False)` makes two copies with torch, each about ten times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sadp_dist.errors import MissingExtra
from sadp_dist.loading.ffcv_import import importing_ffcv

try:
    with importing_ffcv():
        from ffcv.pipeline.allocation_query import AllocationQuery
        from ffcv.pipeline.compiler import Compiler
        from ffcv.pipeline.operation import Operation
        from ffcv.pipeline.state import State
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error


class ToCHW(Operation):
    """Converts (B, H, W, 3) to (B, 3, H, W), both contiguous; put it before `ToTensor`."""

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        height, width, channels = previous_state.shape
        shape = channels, height, width
        return replace(previous_state, shape=shape), AllocationQuery(shape, previous_state.dtype)

    def generate_code(self) -> Callable[..., Any]:
        examples = Compiler.get_iterator()

        def to_chw(images: Any, planes: Any) -> Any:
            area = images.shape[1] * images.shape[2]
            for row in examples(len(images)):
                pixels, plane = images[row].reshape(3 * area), planes[row].reshape(3 * area)
                for i in range(area):  # the compiler vectorises a single loop over one dimension
                    plane[i] = pixels[3 * i]
                    plane[area + i] = pixels[3 * i + 1]
                    plane[2 * area + i] = pixels[3 * i + 2]
            return planes[: len(images)]

        to_chw.is_parallel = True  # type: ignore[attr-defined]
        return to_chw
