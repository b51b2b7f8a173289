"""Convolutions with scaled weight standardisation (sWS), for batch norm (Brock et al., ICLR 2021).

    Ŵ = g γ (W - μ) / (σ √N)

with μ and σ over the N weights of an output channel, a learned gain g of each channel that begins at 1, and
a bias. Where spikes come in, γ = 2.74: neurons with ϑ = 1 that are at rest and get currents of variance 1
spike with probability p = P(N(0, 1) >= 1), and γ = 1 / √(p (1 - p)) makes currents of variance 1 of their
spikes again. In the supplement of SLTT (Meng et al., ICCV 2023) that is Eq. S12, whose print leaves out the
√N that the text speaks of and both cited papers have. γ is in the weights, where the authors' code has it
on the spikes: so what a convolution sees is spikes.
"""

from __future__ import annotations

from spikingjelly.activation_based import layer
from torch import Tensor, nn

GAMMA = 2.74


class StandardisedConv2d(layer.WSConv2d):
    """SpikingJelly's WSConv2d, which has a gain and no γ, with one; [T, B, inputs, H, W] in.

    Its σ² is the unbiased estimate, a little (1 / N) larger than the weights' own.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel_size: an odd size; the image is padded by half of it.
        stride: of the convolution.
        gamma: γ; 1 for images.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int = 3, stride: int = 1, gamma: float = GAMMA
    ) -> None:
        super().__init__(inputs, outputs, kernel_size, stride, padding=kernel_size // 2)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.bias)
        self.gamma = gamma

    def get_weight(self) -> Tensor:
        """Ŵ [outputs, inputs, K, K]."""
        standardised: Tensor = super().get_weight()
        return self.gamma * standardised
