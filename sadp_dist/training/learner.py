"""The network of a run and everything that trains it: learning rule, scorer, compression, optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from sadp_dist.errors import UsageError
from sadp_dist.scoring import SCORES, ScoringConfig, SpikeAwareScorer
from sadp_dist.snn import build_network
from sadp_dist.snn.compression import build_compression
from sadp_dist.snn.compression.operations import synaptic_operations
from sadp_dist.snn.layers import weighted_layers
from sadp_dist.snn.learning import LearningContext, Passes, build_learning_rule
from sadp_dist.training.architecture import architecture_of
from sadp_dist.training.check_phases import check_phases
from sadp_dist.training.checkpoint import load_weights
from sadp_dist.training.config import TrainConfig
from sadp_dist.training.datasets import TrainingData
from sadp_dist.training.losses import build_loss
from sadp_dist.training.optimizer import build_optimizer
from sadp_dist.training.phases import Phases
from sadp_dist.training.processes import Process

_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Learner:
    """A newly initialised network with its learning rule, scorer, compression and optimizer.

    Args:
        config: of the run.
        data: of the run.
        process: this rank; every rank creates a learner.
        score: name of the score to push; "gradient" needs a scorer.
        phases: of the run.

    Attributes:
        architecture: the arguments of ``build_network``.
        network: the network that is evaluated and saved.
        trained: the same network, wrapped by DDP and torch.compile.
        compression: of the network; None without compression.
        rule: computes the gradients.
        scorer: of gradients; None for other scores.
        loss: computes losses (B,) from logits [T, B, K] and labels (B,).

    Raises:
        AgreedError: the network, the learning rule and the training options do not fit together.
    """

    def __init__(
        self, config: TrainConfig, data: TrainingData, process: Process, score: str | None, phases: Phases
    ) -> None:
        self.config, self.data, self.process, self.device = config, data, process, process.device
        self.loss = build_loss(config.training)
        torch.manual_seed(config.seed)
        process.agree(lambda: self._build(score, phases))
        self.trained = self._wrap(self.network)
        learning = chain(self.network.parameters(), self.rule.parameters())
        self.parameters = [p for p in learning if p.requires_grad]
        self.optimizer = build_optimizer(self.parameters, config.training)
        self.grad_scaler = torch.amp.GradScaler(self.device.type, enabled=config.training.precision == "fp16")
        self.passes = Passes(
            self.trained, self.loss, lambda total: self.grad_scaler.scale(total).backward(), self.autocast
        )
        torch.manual_seed(config.seed + 1 + process.rank)  # equal weights on all ranks, different dropout

    def _build(self, score: str | None, phases: Phases) -> None:
        config, data = self.config, self.data
        layout = torch.channels_last if config.training.channels_last else torch.contiguous_format
        self.architecture = architecture_of(config, data)
        network = build_network(**self.architecture)
        if config.network.weights is not None:
            load_weights(network, Path(config.network.weights))
        self.network = network.to(self.device).to(memory_format=layout)
        self.compression = build_compression(config.compression)
        if self.compression is not None:
            self.compression.attach(self.network, config.seed)
            self.compression.to(self.device)
        shape = data.shape
        example = torch.zeros(
            (1, *shape) if len(shape) == 3 else (shape[0], 1, *shape[1:]), device=self.device
        )
        self.rule = build_learning_rule(
            config.learning,
            LearningContext(
                self.network,
                example,
                config.network.time_steps,
                data.classes,
                getattr(config.network.neuron, "decay", None),
                config.seed,
            ),
        )
        self._check_training()
        check_phases(phases, self.rule, example)
        self.scorer: SpikeAwareScorer | None = None
        if score == "gradient":
            self.scorer = SCORES[score](self._scoring(), self.network, self.rule.chunk)

    def _scoring(self) -> ScoringConfig:
        """Return the scoring section; it names the last layer for rules that cut the graph of a pass."""
        scoring = self.config.scoring
        if self.rule.whole or getattr(scoring, "layers", None) != "last":
            return scoring
        return scoring.replace(layers=list(weighted_layers(self.network))[-1:])

    def _check_training(self) -> None:
        rule, training = self.config.learning.rule, self.config.training
        if self.rule.step_by_step and training.loss == "cross-entropy" and self.config.network.time_steps > 1:
            raise UsageError(
                f"learning.rule={rule} needs the loss of each time step, but training.loss=cross-entropy "
                "uses their mean; use training.loss=tet (with training.tet_lambda=0 for plain cross entropy)"
            )
        if training.compile and not self.rule.whole:
            raise UsageError(
                f"training.compile=true needs whole forward passes, which learning.rule={rule} does not use; "
                "leave it out, or use network.neuron.backend=inductor"
            )

    def _wrap(self, network: nn.Module) -> nn.Module:
        trained: nn.Module = torch.compile(network) if self.config.training.compile else network  # type: ignore[assignment]
        if not self.process.communicates or not self.rule.whole:
            return trained
        return DistributedDataParallel(
            trained, device_ids=[self.device] if self.device.type == "cuda" else None
        )

    def learn(
        self,
        inputs: Tensor,
        labels: Tensor,
        coefficients: Tensor,
        *,
        key: tuple[int, int],
        scored: bool,
        last: bool,
    ) -> tuple[Tensor, Tensor]:
        """Add the gradients of a micro-batch, without synchronising with the device.

        Args:
            inputs: [B, ...] or [T, B, ...].
            labels: (B,).
            coefficients: (B,) c_i.
            key: epoch and number of the micro-batch.
            scored: whether to compute gradient scores.
            last: whether it is the last micro-batch of a step.

        Returns:
            Logits [T, B, K] and losses (B,), without a graph.
        """
        # Batch norm cannot normalise a single example at a single time step.
        lone = len(labels) == 1 and self.rule.chunk == 1
        scorer = self.scorer if scored else None
        with self._synchronised(last), scorer or nullcontext(), self._norms_fixed(lone):
            return self.rule.learn(inputs, labels, coefficients, self.passes, key)

    def set_time_steps(self, time_steps: int) -> None:
        """Set T of the next passes: images are shown T times, sequences have T steps."""
        self.network.time_steps = time_steps
        if self.scorer is not None:
            self.scorer.time_steps = self.rule.chunk

    def step(self) -> None:
        """Take an optimizer step with the accumulated gradients."""
        if not self.rule.whole:
            self.process.average_gradients(self.parameters)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()
        if self.compression is not None:
            self.compression.after_step(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)

    def end_epoch(self, epoch: int, epochs: int) -> dict[str, float]:
        """Run compression after an epoch, and return its metrics. Every rank must call it.

        Args:
            epoch: that is done, counted from 0 since the weights were initialised.
            epochs: total number of epochs since then.
        """
        if self.compression is None:
            return {}
        self.compression.after_epoch(epoch, epochs, self.optimizer, self.process.sum)
        return self.compression.figures()

    def operations(self, inputs: Tensor) -> dict[str, float]:
        """Return the synaptic operations per example of [B, ...] or [T, B, ...], with compression only."""
        if self.compression is None:
            return {}
        return {"synaptic_operations": sum(synaptic_operations(self.network, [inputs]).values())}

    def autocast(self) -> AbstractContextManager[None]:
        precision = _PRECISION.get(self.config.training.precision)
        return torch.autocast(self.device.type, precision, enabled=precision is not None)

    def _synchronised(self, last: bool) -> AbstractContextManager[None]:
        """Let DDP reduce gradients only in the last micro-batch of a step."""
        if isinstance(self.trained, DistributedDataParallel) and not last:
            return self.trained.no_sync()
        return nullcontext()

    @contextmanager
    def _norms_fixed(self, fixed: bool) -> Iterator[None]:
        """Use the running statistics in batch norm, as in evaluation."""
        modules = self.network.modules() if fixed else ()
        norms = [module for module in modules if isinstance(module, _BatchNorm)]
        for module in norms:
            module.eval()
        yield
        for module in norms:
            module.train()

    @property
    def _stateful(self) -> dict[str, Any]:
        """The parts with state, by their names in a checkpoint."""
        return {
            "network": self.network,
            "learning": self.rule,
            **({} if self.compression is None else {"compression": self.compression}),
            "optimizer": self.optimizer,
            "grad_scaler": self.grad_scaler,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {name: part.state_dict() for name, part in self._stateful.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of a checkpoint; those of an older release have no state of the learning rule."""
        for name, part in self._stateful.items():
            part.load_state_dict(state.get(name, {}) if name == "learning" else state[name])
