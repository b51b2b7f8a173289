"""A training step of a network with or without scores, in one of many ways to run it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal

import torch
from spikingjelly.activation_based.memopt import optimize_memory
from spikingjelly.activation_based.neuron import LIFNode
from torch import Tensor
from torch.nn.functional import cross_entropy

from sadp_dist.scoring import SpikeAwareScorer
from sadp_dist.snn import build_network
from sadp_dist.snn.lif_neuron import LIFConfig
from sadp_dist.training.config import OptimizationConfig
from sadp_dist.training.optimizer import build_optimizer

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Step:
    """Forward, backward, scores and SGD on one batch of noise. It does not wait for the device.

    Args:
        network: a name in `sadp_dist.snn.NETWORKS`.
        batch: examples per step.
        scoring: arguments of a `SpikeAwareScorer`, or None for no scores.
        device: of everything.
        side: of the images, in pixels.
        time_steps: T.
        precision: "bf16" and "fp16" use torch.autocast, "fp16" also a GradScaler.
        channels_last: memory format of weights and images.
        compile: mode of torch.compile; None does not compile.
        compiler: backend of torch.compile; only "inductor" has modes.
        memopt: level of SpikingJelly's memory optimisation. Level 1 runs neurons again in the backward pass;
            levels 2 to 4, for ResNets on CUDA, run blocks again, split them and unwrap some.
        neurons: backend of the neurons.
    """

    def __init__(
        self,
        network: str,
        batch: int,
        scoring: dict[str, Any] | None,
        device: torch.device,
        *,
        side: int = 32,
        time_steps: int = 4,
        precision: Precision = "fp32",
        channels_last: bool = False,
        compile: str | None = None,
        compiler: str = "inductor",
        memopt: int = 0,
        neurons: Literal["torch", "inductor"] = "torch",
    ) -> None:
        self.device, self.compile = device, compile
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        torch.manual_seed(0)
        images = torch.rand(batch, 3, side, side)
        self.labels = torch.randint(10, (batch,)).to(device)
        # Of different sizes, as weights are; their sum is about 1.
        self.coefficients = (torch.rand(batch) + 0.5).div(batch).to(device)
        kind = LIFConfig(backend=neurons)
        self.network = build_network(
            network, num_classes=10, image_size=side, time_steps=time_steps, neuron=kind
        )
        self.images = images.to(device).to(memory_format=memory_format)
        self.network.to(device).to(memory_format=memory_format)
        if memopt:
            _optimise_memory(self, memopt)
        self.scorer = None if scoring is None else SpikeAwareScorer(self.network, **scoring)
        self.trained: Any = self.network
        if compile is not None:
            mode = compile if compiler == "inductor" else None
            self.trained = torch.compile(self.network, backend=compiler, mode=mode)
        self.autocast = torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")
        self.scaler = torch.amp.GradScaler(device.type, init_scale=2.0**10, enabled=precision == "fp16")
        sgd = OptimizationConfig(epochs=1, learning_rate=1e-3)
        self.optimizer = build_optimizer(list(self.network.parameters()), sgd)

    def __call__(self) -> Tensor | None:
        """Run the step and return the scores, (B,)."""
        scores = self.backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return scores

    def backward(self) -> Tensor | None:
        """Run the step up to the optimizer, and return the scores."""
        if self.compile == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        self.optimizer.zero_grad()
        with self.scorer or nullcontext():
            with self.autocast:
                logits = self.trained(self.images)
            losses = cross_entropy(logits.float().mean(0), self.labels, reduction="none")
            self.scaler.scale((self.coefficients * losses).sum()).backward()
        return None if self.scorer is None else self.scorer.scores(self.coefficients, self.scaler)


def _optimise_memory(step: Step, level: int) -> None:
    """Apply SpikingJelly's memory optimisation to a step's network."""
    if level == 1:
        optimize_memory(step.network, LIFNode, lambda model: model(step.images), level=1)
        return
    from spikingjelly.activation_based.model.spiking_resnet import BasicBlock

    def halves(block: Any) -> list[Any]:
        return [block.sn1, block.sn2] if isinstance(block, BasicBlock) else []

    optimize_memory(
        step.network,
        BasicBlock,
        lambda model: model(step.images),
        level=level,  # type: ignore[arg-type]
        split_fn=halves,
        can_chunk=lambda module: isinstance(module, LIFNode),
    )
