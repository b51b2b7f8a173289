"""The interface of every dataset in this package."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Examples(Protocol):
    """A map-style dataset of labelled examples.

    An example is an RGB image, as a PIL image or uint8 (H, W, 3), or an array of the dataset's shape.

    Attributes:
        name: the source of the examples, for messages.
        classes: the class names; label k is `classes[k]`.
        labels: int64 (N,).
    """

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> list[str]: ...

    @property
    def labels(self) -> npt.NDArray[np.int64]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, int]: ...
