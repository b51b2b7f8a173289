"""Meta-SpikeFormer as its authors publish it: the names and shapes of a checkpoint, and what it computes.

Written from Yao et al. (ICLR 2024) and the layout of their checkpoints, on plain tensors: nothing of ours.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv1d, conv2d, linear, pad

Shapes = dict[str, tuple[int, ...]]


def norm_shapes(name: str, width: int) -> Shapes:
    fields = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{field}": (width,) for field in fields} | {f"{name}.num_batches_tracked": ()}


def rep_conv_shapes(name: str, width: int) -> Shapes:
    return {
        f"{name}.0.body.0.weight": (width, width, 1, 1),
        **norm_shapes(f"{name}.0.body.1.bn", width),
        f"{name}.0.body.2.0.weight": (width, 1, 3, 3),
        f"{name}.0.body.2.1.weight": (width, width, 1, 1),
        **norm_shapes(f"{name}.0.body.2.2", width),
        **norm_shapes(f"{name}.1", width),
    }


def conv_block_shapes(name: str, width: int) -> Shapes:
    return {
        f"{name}.Conv.pwconv1.weight": (2 * width, width, 1, 1),
        **norm_shapes(f"{name}.Conv.bn1", 2 * width),
        f"{name}.Conv.dwconv.weight": (2 * width, 1, 7, 7),
        f"{name}.Conv.pwconv2.weight": (width, 2 * width, 1, 1),
        **norm_shapes(f"{name}.Conv.bn2", width),
        f"{name}.conv1.weight": (4 * width, width, 3, 3),
        **norm_shapes(f"{name}.bn1", 4 * width),
        f"{name}.conv2.weight": (width, 4 * width, 3, 3),
        **norm_shapes(f"{name}.bn2", width),
    }


def transformer_block_shapes(name: str, width: int) -> Shapes:
    shapes: Shapes = {}
    for part in ("q_conv", "k_conv", "v_conv", "proj_conv"):
        shapes |= rep_conv_shapes(f"{name}.attn.{part}", width)
    for layer, inputs, outputs in (("fc1", width, 4 * width), ("fc2", 4 * width, width)):
        shapes |= {
            f"{name}.mlp.{layer}_conv.weight": (outputs, inputs, 1),
            f"{name}.mlp.{layer}_conv.bias": (outputs,),
        }
        shapes |= norm_shapes(f"{name}.mlp.{layer}_bn", outputs)
    return shapes


def downsample_shapes(name: str, inputs: int, outputs: int, kernel: int) -> Shapes:
    return {
        f"{name}.encode_conv.weight": (outputs, inputs, kernel, kernel),
        f"{name}.encode_conv.bias": (outputs,),
        **norm_shapes(f"{name}.encode_bn", outputs),
    }


def checkpoint_shapes(widths: tuple[int, ...], classes: int, teacher: bool = False) -> Shapes:
    """Every tensor of a checkpoint; with `teacher`, of one that was fine-tuned by distillation."""
    first, second, third, last = widths
    shapes = {
        **downsample_shapes("downsample1_1", 3, first // 2, kernel=7),
        **conv_block_shapes("ConvBlock1_1.0", first // 2),
        **downsample_shapes("downsample1_2", first // 2, first, kernel=3),
        **conv_block_shapes("ConvBlock1_2.0", first),
        **downsample_shapes("downsample2", first, second, kernel=3),
        **conv_block_shapes("ConvBlock2_1.0", second),
        **conv_block_shapes("ConvBlock2_2.0", second),
        **downsample_shapes("downsample3", second, third, kernel=3),
        **downsample_shapes("downsample4", third, last, kernel=3),
    }
    for stage, width, depth in (("block3", third, 6), ("block4", last, 2)):
        for index in range(depth):
            shapes |= transformer_block_shapes(f"{stage}.{index}", width)
    for head in ("head", "head_kd") if teacher else ("head",):
        shapes |= {f"{head}.weight": (classes, last), f"{head}.bias": (classes,)}
    return shapes


def random_checkpoint(shapes: Shapes) -> dict[str, Tensor]:
    """Weights that let spikes through, and norms that are far from their beginning."""
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(7)
        elif name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            weights[name] = 0.5 + torch.rand(shape)
        elif len(shape) == 1:
            weights[name] = torch.randn(shape) / 2
        else:
            weights[name] = torch.randn(shape) * (2 / math.prod(shape[1:])) ** 0.5
    return weights


def published_logits(weights: dict[str, Tensor], images: Tensor, time_steps: int) -> Tensor:
    """[T, B, K] of images [B, 3, H, W] in evaluation, every time step by itself."""
    return torch.stack(list(_Evaluation(weights).steps(images, time_steps)))


class _Evaluation:
    """One time step after the other, with the potentials of all neurons in a dictionary."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights
        self.potentials: dict[str, Tensor] = {}

    def steps(self, images: Tensor, time_steps: int) -> Iterator[Tensor]:
        for _ in range(time_steps):
            yield self.step(images)

    def spikes(self, name: str, x: Tensor, threshold: float = 1.0) -> Tensor:
        """τ = 2, the current decays with the potential, and a spike sets the potential to zero."""
        before = self.potentials.get(name, torch.zeros_like(x))
        u = before + (x - before) / 2
        o = (u >= threshold).to(x.dtype)
        self.potentials[name] = u * (1 - o)
        return o

    def conv(self, name: str, x: Tensor, **options) -> Tensor:
        return conv2d(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"), **options)

    def norm(self, name: str, x: Tensor) -> Tensor:
        fields = ("running_mean", "running_var", "weight", "bias")
        return batch_norm(x, *(self.weights[f"{name}.{field}"] for field in fields), training=False)

    def rep_conv(self, name: str, x: Tensor) -> Tensor:
        # Zeros around the image before the first convolution: what its norm makes of them is the border.
        x = self.norm(f"{name}.0.body.1.bn", self.conv(f"{name}.0.body.0", pad(x, (1, 1, 1, 1))))
        x = self.conv(f"{name}.0.body.2.0", x, groups=x.shape[1])
        return self.norm(f"{name}.1", self.norm(f"{name}.0.body.2.2", self.conv(f"{name}.0.body.2.1", x)))

    def downsample(self, name: str, x: Tensor, stride: int) -> Tensor:
        x = x if name == "downsample1_1" else self.spikes(name, x)
        padding = self.weights[f"{name}.encode_conv.weight"].shape[-1] // 2
        return self.norm(
            f"{name}.encode_bn", self.conv(f"{name}.encode_conv", x, stride=stride, padding=padding)
        )

    def conv_block(self, name: str, x: Tensor) -> Tensor:
        inner = self.norm(f"{name}.Conv.bn1", self.conv(f"{name}.Conv.pwconv1", self.spikes(f"{name}.1", x)))
        inner = self.spikes(f"{name}.2", inner)
        inner = self.conv(f"{name}.Conv.dwconv", inner, padding=3, groups=inner.shape[1])
        x = x + self.norm(f"{name}.Conv.bn2", self.conv(f"{name}.Conv.pwconv2", inner))
        inner = self.norm(f"{name}.bn1", self.conv(f"{name}.conv1", self.spikes(f"{name}.3", x), padding=1))
        return x + self.norm(
            f"{name}.bn2", self.conv(f"{name}.conv2", self.spikes(f"{name}.4", inner), padding=1)
        )

    def attention(self, name: str, x: Tensor) -> Tensor:
        spikes = self.spikes(name, x)
        q, k, v = (
            self.spikes(f"{name}.{part}", self.rep_conv(f"{name}.{part}_conv", spikes)) for part in "qkv"
        )
        result = torch.empty_like(x)
        width = x.shape[1] // 8
        for head in range(8):
            channels = slice(head * width, (head + 1) * width)
            queries, keys, values = (each[:, channels].flatten(2) for each in (q, k, v))
            similar = torch.einsum("bcn,bcm->bnm", queries, keys)  # as softmax attention would have it
            attended = torch.einsum("bnm,bcm->bcn", similar, values) * 0.125
            result[:, channels] = attended.reshape(x[:, channels].shape)
        return self.rep_conv(f"{name}.proj_conv", self.spikes(f"{name}.attn", result, threshold=0.5))

    def mlp(self, name: str, x: Tensor) -> Tensor:
        rows = x.flatten(2)
        for layer in ("fc1", "fc2"):
            weight, bias = (self.weights[f"{name}.{layer}_conv.{field}"] for field in ("weight", "bias"))
            rows = self.spikes(f"{name}.{layer}", rows)
            rows = self.norm(f"{name}.{layer}_bn", conv1d(rows, weight, bias))
        return rows.reshape(x.shape)

    def step(self, images: Tensor) -> Tensor:
        x = self.downsample("downsample1_1", images, stride=2)
        x = self.conv_block("ConvBlock1_1.0", x)
        x = self.conv_block("ConvBlock1_2.0", self.downsample("downsample1_2", x, stride=2))
        x = self.conv_block("ConvBlock2_1.0", self.downsample("downsample2", x, stride=2))
        x = self.downsample("downsample3", self.conv_block("ConvBlock2_2.0", x), stride=2)
        for name in (f"block3.{index}" for index in range(6)):
            x = x + self.attention(f"{name}.attn", x)
            x = x + self.mlp(f"{name}.mlp", x)
        x = self.downsample("downsample4", x, stride=1)
        for name in (f"block4.{index}" for index in range(2)):
            x = x + self.attention(f"{name}.attn", x)
            x = x + self.mlp(f"{name}.mlp", x)
        seen = self.spikes("head", x.flatten(2).mean(2))
        logits = linear(seen, self.weights["head.weight"], self.weights["head.bias"])
        if "head_kd.weight" not in self.weights:
            return logits
        return (logits + linear(seen, self.weights["head_kd.weight"], self.weights["head_kd.bias"])) / 2
