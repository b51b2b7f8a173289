"""Scores on the device, in each precision, against their definition in the CPU's float64."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from sadp_dist.scoring.hooks import Tap
from sadp_dist.scoring.layer_selection import biases_of, choose_layers
from sadp_dist.scoring.layers import bias_share
from sadp_dist.selftest.part import CORRECTNESS, Figures
from sadp_dist.selftest.setting import Setting, Sizes
from sadp_dist.selftest.step import Step

TOLERANCE = 1e-4
"""Of a score, relative to its definition computed in float64 from the values of the same pass."""
FROM_FLOAT64 = {"fp32": 1e-4, "TF32": 0.05, "bf16": 0.1, "fp16": 0.05}
"""Median relative difference that is allowed from the scores of a pass in float64. A neuron near its
threshold spikes in one precision and not in the other, so passes in low precision differ."""
SHALLOW = "small_cnn"
"""For passes in float64: in a deep network, one spike more or less changes all that follows."""


class Definition:
    """Eq. 29 with biases in float64 on the CPU, from the inputs and errors of the layers in the same pass.

    It reads all layers of a multi-step network, whose calls have shapes [1 or T, B, ...].
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._taps = {
            layer: Tap(_cloned, _cloned) for layer in choose_layers(step.network, "all", False).values()
        }
        for layer, tap in self._taps.items():
            layer.register_forward_hook(tap, with_kwargs=True)

    def scores(self) -> tuple[Tensor, Tensor]:
        """Run a step without its optimizer; return its scores and those of the definition, (B,) float64."""
        for tap in self._taps.values():
            tap.start()
        found = self._step.backward()
        for tap in self._taps.values():
            tap.stop()
        assert found is not None
        expected = torch.zeros(len(found), dtype=torch.float64)
        for layer, tap in self._taps.items():
            for o, δ, shape in tap.calls:
                norms = [x.cpu().double().flatten(2).norm(dim=2) for x in (o, δ)]
                share = bias_share(layer, shape) if biases_of(layer) else 0.0
                expected += ((norms[0].square() + share).sqrt() * norms[1]).sum(0)
            tap.clear()
        scale = self._step.coefficients.cpu().double() * self._step.scaler.get_scale()
        return found.cpu().double(), expected / scale


def _cloned(layer: nn.Module, x: Tensor) -> Tensor:
    return x.detach().clone()


def compared(step: Step, times: int = 1) -> Figures:
    """Return the largest relative error of a step's scores, after some steps.

    Raises:
        AssertionError: it is above the tolerance, or a score is 0.
    """
    definition = Definition(step)
    for _ in range(times):
        found, expected = definition.scores()
    assert (expected > 0).all(), f"scores of 0 show nothing: {expected.tolist()}"
    error = float(((found - expected) / expected).abs().max())
    assert error < TOLERANCE, f"largest relative error {error:.2e}: {found.tolist()}, {expected.tolist()}"
    return {"largest relative error": error}


def small_step(setting: Setting, network: str | None = None, **options: Any) -> Step:
    """Return a step of the size of the correctness checks, with scores of all layers."""
    sizes = setting.sizes
    scoring = options.pop("scoring", {"layers": "all"})
    options |= {"side": sizes.side, "time_steps": sizes.time_steps}
    return Step(network or sizes.network, sizes.batch, scoring, setting.device, **options)


@cache
def _in_float64(sizes: Sizes) -> Tensor:
    """Return the scores of a whole pass in float64 on the CPU."""
    sized: dict[str, Any] = {"side": sizes.side, "time_steps": sizes.time_steps}
    step = Step(SHALLOW, sizes.batch, {"layers": "all"}, torch.device("cpu"), **sized)
    step.network.double()
    step.images = step.images.double()
    scores = step.backward()
    assert scores is not None
    return scores.double()


def _whole(setting: Setting, name: str, **options: Any) -> Figures:
    """Compare with the definition, and a shallow network also with a whole pass in float64."""
    scores = small_step(setting, SHALLOW, **options).backward()
    assert scores is not None
    expected = _in_float64(setting.sizes)
    difference = statistics.median(((scores.cpu().double() - expected) / expected).abs().tolist())
    assert difference < FROM_FLOAT64[name], f"median difference from a pass in float64 {difference:.2e}"
    of_network = compared(small_step(setting, **options))
    return {**of_network, "median difference from a pass in float64": difference}


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid convolutions and products with the inputs rounded to TF32, in this block."""
    backends: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = allowed
        yield
    finally:
        for backend, was in zip(backends, before, strict=True):
            backend.allow_tf32 = was


@CORRECTNESS.check("scores, fp32")
def scores_fp32(setting: Setting) -> Figures:
    with tf32(False):
        return _whole(setting, "fp32")


@CORRECTNESS.check("scores, TF32")
def scores_tf32(setting: Setting) -> Figures:
    with tf32(True):
        return _whole(setting, "TF32")


@CORRECTNESS.check("scores, bf16")
def scores_bf16(setting: Setting) -> Figures:
    return _whole(setting, "bf16", precision="bf16")


@CORRECTNESS.check("scores, fp16 with GradScaler")
def scores_fp16(setting: Setting) -> Figures:
    return _whole(setting, "fp16", precision="fp16")


@CORRECTNESS.check("scores, channels_last")
def scores_channels_last(setting: Setting) -> Figures:
    return {
        f"{precision}, largest relative error": compared(
            small_step(setting, channels_last=True, precision=precision)
        )["largest relative error"]
        for precision in ("fp32", "bf16")
    }


@CORRECTNESS.check("scores, exact norms of the last layer")
def scores_exact(setting: Setting) -> Figures:
    """Compare exact scores with the norms of gradients, one example at a time in float64 on the CPU."""
    step = small_step(setting, SHALLOW, scoring={"layers": "last", "exact": True})
    layer = list(choose_layers(step.network, "last", True).values())[-1]
    tap = Tap(_cloned, _cloned)
    layer.register_forward_hook(tap, with_kwargs=True)
    tap.start()
    scores = step.backward()
    tap.stop()
    assert scores is not None
    ((o, δ, _),) = tap.calls
    δ, o = δ.cpu().double(), o.cpu().double()
    if biases_of(layer):
        o = torch.cat([o, torch.ones_like(o[..., :1])], dim=-1)
    gradients = torch.einsum("tbk,tbd->bkd", δ, o)
    expected = gradients.flatten(1).norm(dim=1) / step.coefficients.cpu().double()
    error = float(((scores.cpu().double() - expected) / expected).abs().max())
    assert error < TOLERANCE, f"largest relative error {error:.2e}"
    return {"largest relative error": error}
