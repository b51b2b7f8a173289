"""Exports the quantised network of a run and evaluates it: ``sadp-dist export``."""

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
    """The result of an export.

    Attributes:
        trained_so: whether the run trained with quantisation; else the weights were quantised afterwards.
        float_bytes: size of an uncompressed file with the same network in float32.
        bytes: size of the file.
        float_accuracy: test accuracy of the trained network. With quantisation-aware training, this network
            uses quantised weights too.
        accuracy: test accuracy of the network in the file.
        examples: size of the test set.
    """

    trained_so: bool
    float_bytes: int
    bytes: int
    float_accuracy: float
    accuracy: float
    examples: int


def export_run(run_dir: Path, out: Path) -> Exported:
    """Write the network of a run's newest checkpoint to a file, and evaluate it before and after.

    The run's data must still exist. The run's store is not needed: the checkpoint has the scores.

    Args:
        run_dir: the run directory.
        out: the file, which must end in .npz; an existing file is replaced.

    Raises:
        UsageError: the directory holds no run with a checkpoint, the data does not exist, or the file cannot
            be written.
    """
    checkpoints = Checkpoints(run_dir)
    if not (run_dir / CONFIG_FILE).is_file() or not checkpoints.all():
        raise UsageError(f"{run_dir} holds no run with a checkpoint; give the directory of a run")
    # Use an embedded store, and ignore the initial weights, which may be gone.
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
