"""A trained run's network as a file of few bits, and what that costs: what ``sadp-dist export`` does."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from sadp_dist.errors import UsageError
from sadp_dist.snn.compression.export import export_network, export_unquantised, import_network
from sadp_dist.snn.compression.quantisation import quantised
from sadp_dist.snn.layers import weighted_layers
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.config import StoreConfig
from sadp_dist.training.config_file import CONFIG_FILE, read_saved
from sadp_dist.training.processes import Process, device_of
from sadp_dist.training.trainer import Trainer


@dataclass(frozen=True)
class Exported:
    """What was written, and what it is worth.

    Attributes:
        trained_so: the run trained with quantisation; else the weights got 8 bits afterwards.
        float_bytes: size of a file with the same network in float32, not compressed.
        bytes: size of the file.
        float_accuracy: of the network that was trained, on the test set. With quantisation-aware training it
            computes with quantised weights too.
        accuracy: of the network that is in the file.
        examples: of the test set.
    """

    trained_so: bool
    float_bytes: int
    bytes: int
    float_accuracy: float
    accuracy: float
    examples: int


def export_run(run_dir: Path, out: Path) -> Exported:
    """Write the network of a run's newest checkpoint to a file, and evaluate it before and after.

    The run's data has to be where the run found it. Its store is not asked: scores are in the checkpoint.

    Args:
        run_dir: of the run.
        out: the file, ends in .npz; it is replaced.

    Raises:
        UsageError: the directory holds no run with a checkpoint, the data is not there, or the file cannot be
            written.
    """
    checkpoints = Checkpoints(run_dir)
    if not (run_dir / CONFIG_FILE).is_file() or not checkpoints.all():
        raise UsageError(f"{run_dir} holds no run with a checkpoint; give the directory of a run")
    # In this process alone, whatever store it trained with; and its first weights may be gone.
    config = read_saved(run_dir / CONFIG_FILE)
    config = config.replace(store=StoreConfig(), network=config.network.replace(weights=None))
    trainer = Trainer(config, Process(0, 1, device_of(0, 1)))
    trainer.resume(checkpoints)
    learner = trainer.learner
    export_network(learner.network, out, learner.architecture)
    with tempfile.TemporaryDirectory() as folder:
        unquantised = Path(folder) / "float32.npz"
        export_unquantised(learner.network, unquantised, learner.architecture)
        float_bytes = unquantised.stat().st_size
    before = trainer.evaluate()
    trained_so = any(quantised(layer) for layer in weighted_layers(learner.network).values())
    learner.network = import_network(out).to(trainer.device).to(memory_format=trainer.memory_format)
    after = trainer.evaluate()
    trainer.store.close()
    return Exported(
        trained_so=trained_so,
        float_bytes=float_bytes,
        bytes=out.stat().st_size,
        float_accuracy=before["test_accuracy"],
        accuracy=after["test_accuracy"],
        examples=int(after["test_examples"]),
    )
