"""Scores of networks that torch.compile, SpikingJelly's kernels or its memory optimisation run."""

from __future__ import annotations

from functools import partial

import torch

from sadp_dist.selftest.part import CORRECTNESS, Figures, Skipped
from sadp_dist.selftest.runs import compiled
from sadp_dist.selftest.scores import SHALLOW, compared, small_step
from sadp_dist.selftest.setting import Setting
from sadp_dist.selftest.step import Step


def memopt(level: int, setting: Setting) -> Figures:
    """Compare the scores of a ResNet with SpikingJelly's memory optimisation of this level."""
    if level > 1 and not setting.on_gpu:
        raise Skipped(f"level {level} measures the memory of CUDA")
    return compared(small_step(setting, "spiking_resnet18", memopt=level))


for level in (1, 2, 3, 4):
    CORRECTNESS.check(f"scores, memopt level {level}")(partial(memopt, level))


def with_kernels(name: str, setting: Setting) -> Figures:
    """Compare scores with the kernels of this name; by default SpikingJelly chooses the first that work."""
    if not setting.on_gpu:
        raise Skipped("kernels are for CUDA")
    try:
        from spikingjelly._ops.lif import _selection as selection
    except ImportError:
        raise Skipped("this SpikingJelly offers no choice of kernels") from None
    before = selection._requested
    try:
        _request(selection, name)
        try:
            selection.diagnostics(setting.device)
        except RuntimeError as error:
            raise Skipped(" ".join(str(error).split())) from None
        return compared(small_step(setting))
    finally:
        _request(selection, before)


def _request(selection: object, name: str) -> None:
    """Make SpikingJelly choose anew, as SJ_LIF_CUDA_IMPLEMENTATION does before it is imported."""
    selection._requested = name  # type: ignore[attr-defined]
    selection._selections.clear()  # type: ignore[attr-defined]
    selection._compiled_selections.clear()  # type: ignore[attr-defined]


for kernels, said in (("triton", "Triton"), ("cuda", "native CUDA"), ("torch", "torch")):
    CORRECTNESS.check(f"scores, SpikingJelly's {said} kernels")(partial(with_kernels, kernels))


@CORRECTNESS.check("scores, SpikingJelly's CuPy kernels")
def scores_cupy(setting: Setting) -> Figures:
    raise Skipped("SpikingJelly 2 has no CuPy kernels; its native CUDA kernels replace them")


@CORRECTNESS.check("scores, torch.compile", seconds=90)
def scores_compiled(setting: Setting) -> Figures:
    return compared(_compiled(setting, "default"), times=2)


@CORRECTNESS.check("scores, torch.compile with reduce-overhead", seconds=90)
def scores_in_graphs(setting: Setting) -> Figures:
    """Five steps: the first ones warm up, later ones replay CUDA graphs."""
    return compared(_compiled(setting, "reduce-overhead"), times=5)


def _compiled(setting: Setting, mode: str) -> Step:
    torch.compiler.reset()
    return small_step(setting, SHALLOW, compile=mode, compiler=setting.sizes.compiler)


CORRECTNESS.check("a compiled run learns", seconds=90)(compiled)
