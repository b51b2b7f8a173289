"""Random resized crops in FFCV's compiled pipeline; a crop depends on (seed, epoch, index) alone.

The crops of FFCV's own decoder depend on the thread that decodes the image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, njit  # type: ignore[attr-defined]
from numpy.typing import NDArray

from sadp_dist.errors import MissingExtra
from sadp_dist.loading.epoch_loader import SMALLEST_CROP
from sadp_dist.loading.ffcv_import import importing_ffcv
from sadp_dist.loading.rng_streams import LoadingStream
from sadp_dist.selection.random import bits, stream_key

try:
    with importing_ffcv():
        from ffcv.fields.rgb_image import IMAGE_MODES, RandomResizedCropRGBImageDecoder
        from ffcv.libffcv import imdecode, resize_crop
        from ffcv.pipeline.compiler import Compiler
        from ffcv.utils import cast_int_to_byte_ptr
except ImportError as error:
    raise MissingExtra("ffcv", "ffcv") from error

ATTEMPTS = 10


@njit(nogil=True)
def crop_box(
    key: np.uint64, height: int, width: int, scale: NDArray[np.float64], ratio: NDArray[np.float64]
) -> tuple[int, int, int, int]:
    """Return a box as torchvision's RandomResizedCrop does (Szegedy et al., arXiv:1409.4842).

    Args:
        key: uint64, the key of the example's random numbers.
        height, width: size of the image, in pixels.
        scale: (lowest, highest) share of the image's area.
        ratio: (lowest, highest) width / height; its logarithm is uniform.

    Returns:
        (top, left, height, width) in pixels.
    """
    for attempt in range(ATTEMPTS):
        area = height * width * _between(scale[0], scale[1], key, 4 * attempt)
        aspect = np.exp(_between(np.log(ratio[0]), np.log(ratio[1]), key, 4 * attempt + 1))
        w = round(np.sqrt(area * aspect))
        h = round(np.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = int(_between(0, height - h + 1, key, 4 * attempt + 2))
            left = int(_between(0, width - w + 1, key, 4 * attempt + 3))
            return top, left, h, w
    # No attempt fitted: take the largest central box within the ratios.
    w = min(width, round(height * ratio[1]))
    h = min(height, round(width / ratio[0]))
    return (height - h) // 2, (width - w) // 2, h, w


@njit(nogil=True)
def _between(low: float, high: float, key: np.uint64, draw: int) -> float:
    """Return random number `draw` of `key`, uniform in [low, high)."""
    return low + (high - low) * ((bits(key, draw) >> np.uint64(11)) * 2.0**-53)


class KeyedResizedCropDecoder(RandomResizedCropRGBImageDecoder):
    """Decodes, crops at random and resizes.

    `set_epoch` and `set_smallest` change the crops without compiling again.

    The key uses an example's position in the file as its index. They are equal in a file that `write_beton`
    wrote.

    Args:
        output_size: (height, width) in pixels.
        seed: seed of the crops.
        scale, ratio: as in `crop_box`.
    """

    def __init__(
        self,
        output_size: tuple[int, int],
        seed: int = 0,
        scale: tuple[float, float] = (SMALLEST_CROP, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        super().__init__(output_size, scale, ratio)
        self._seed = seed
        # Compiled code treats an array in its closure as a constant, so it reads these by their addresses.
        self._epoch_key = np.zeros(1, dtype=np.uint64)
        self._scale = np.array(scale, dtype=np.float64)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        self._epoch_key[0] = stream_key(self._seed, epoch, LoadingStream.CROP)

    def set_smallest(self, share: float) -> None:
        """Set the smallest share of an image's area that a crop has."""
        self._scale[0] = share

    def generate_code(self) -> Callable[..., Any]:
        address, address_of_scale = self._epoch_key.ctypes.data, self._scale.ctypes.data
        ratio = np.array(self.ratio)
        jpg = IMAGE_MODES["jpg"]
        read = self.memory_read
        examples = Compiler.get_iterator()
        decode_jpeg, resize = Compiler.compile(imdecode), Compiler.compile(resize_crop)

        def decode(batch_indices: Any, memory: Any, metadata: Any, storage_state: Any) -> Any:
            destination, scratch = memory
            epoch_key = carray(cast_int_to_byte_ptr(address), 8).view(np.uint64)[0]
            scale = carray(cast_int_to_byte_ptr(address_of_scale), 16).view(np.float64)
            for row in examples(len(batch_indices)):
                field = metadata[batch_indices[row]]
                stored = read(field["data_ptr"], storage_state)
                height, width = int(field["height"]), int(field["width"])
                if field["mode"] == jpg:
                    pixels = scratch[row][: 3 * height * width]
                    decode_jpeg(stored, pixels, height, width, height, width, 0, 0, 1, 1, False, False)
                else:
                    pixels = stored
                key = bits(epoch_key, batch_indices[row])
                top, left, h, w = crop_box(key, height, width, scale, ratio)
                resize(pixels.reshape(height, width, 3), top, top + h, left, left + w, destination[row])
            return destination[: len(batch_indices)]

        decode.is_parallel = True  # type: ignore[attr-defined]
        return decode
