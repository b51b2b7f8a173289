"""Whether a loss is below the mean loss of the latest batches."""

from __future__ import annotations

from collections import deque
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from sadp_dist.scoring.config import ScoringConfig, register_score
from sadp_dist.scoring.scores import Outputs


class WindowLossConfig(ScoringConfig):
    """The options of "window-loss".

    Attributes:
        window: number of batches of a rank whose mean a loss is compared with; fewer at the start of an
            epoch or after a checkpoint. With gradient accumulation these are micro-batches.
    """

    window: Annotated[int, Field(ge=1)] = 8


@register_score("window-loss", WindowLossConfig)
def window_loss(outputs: Outputs) -> Tensor:
    """Return 0 if ℓ_i is below the mean loss of its window, else 1, as in RePB.

    The window is the batch and the batches before it that `Outputs.window` includes.
    """
    window = batch_sums(outputs.losses, outputs.coefficients) if outputs.window is None else outputs.window
    return (outputs.losses >= window[0] / window[1]).float()


class LossWindow:
    """Loss sums of the latest batches of a rank.

    Args:
        batches: size of the window, at least 1.
    """

    def __init__(self, batches: int) -> None:
        self._sums: deque[Tensor] = deque(maxlen=batches)

    @torch.no_grad()
    def add(self, losses: Tensor, coefficients: Tensor) -> Tensor:
        """Add a batch, and return Σ ℓ and the number of examples of the window with it, (2,)."""
        self._sums.append(batch_sums(losses, coefficients))
        return torch.stack(tuple(self._sums)).sum(0)

    def clear(self) -> None:
        """Empty the window."""
        self._sums.clear()


def batch_sums(losses: Tensor, coefficients: Tensor) -> Tensor:
    """Return Σ ℓ of a batch and its number of examples without padding, (2,) float32."""
    present = coefficients != 0
    return torch.stack([torch.where(present, losses, 0.0).sum().float(), present.sum().float()])
