"""Convolutions with scaled weight standardisation (sWS), which replaces batch norm (Brock et al., ICLR 2021).

    Ŵ = g γ (W - μ) / (σ √N)

μ and σ are the mean and standard deviation of the N weights of an output channel. Each channel has a learned
gain g, which starts at 1, and a bias. For inputs that are spikes, γ = 2.74. Reason: neurons with potential 0,
ϑ = 1 and currents of variance 1 spike with probability p = P(N(0, 1) >= 1), and with γ = 1 / √(p (1 - p)) the
next currents have variance 1 again.

This is Eq. S12 in the supplement of SLTT (Meng et al., ICCV 2023). As printed, the equation lacks √N, which
its text and both papers that it cites have. The authors' code multiplies the spikes by γ. Here γ is in the
weights, so that the convolution's input stays binary.
"""

from __future__ import annotations

from spikingjelly.activation_based import layer
from torch import Tensor, nn

GAMMA = 2.74


class StandardisedConv2d(layer.WSConv2d):
    """SpikingJelly's WSConv2d with γ; from [T, B, inputs, H, W] to [T, B, outputs, H / stride, W / stride].

    σ² is the unbiased estimate, which divides by N - 1.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel_size: odd; the padding is half of it, rounded down.
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
        """Return Ŵ [outputs, inputs, kernel_size, kernel_size]."""
        standardised: Tensor = super().get_weight()
        return self.gamma * standardised
