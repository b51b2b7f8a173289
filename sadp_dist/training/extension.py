"""More epochs than a run was begun with: what that changes, and when it cannot be right."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sadp_dist.atomic_write import TEMPORARY
from sadp_dist.errors import UsageError
from sadp_dist.selection import PruningConfig
from sadp_dist.snn.compression import COMPRESSIONS, Compression
from sadp_dist.store import attach, list_runs, remove_run
from sadp_dist.store.engine.snapshot import Snapshot
from sadp_dist.training.config import TrainConfig
from sadp_dist.training.optimizer import cosine_rate
from sadp_dist.training.phases import Phases


def check_extension(earlier: TrainConfig, config: TrainConfig) -> None:
    """Refuse an extension that cannot be right.

    Raises:
        UsageError: the run would have fewer epochs than before, or its compression has a schedule over them.
    """
    then, now = earlier.training.epochs, config.training.epochs
    if now < then:
        raise UsageError(
            f"--extend: training.epochs={now} is below the {then} epochs of {config.run_dir}; give more"
        )
    method = config.compression.method
    scheduled = method != "none" and COMPRESSIONS[method].after_epoch is not Compression.after_epoch
    if now > then and scheduled:
        raise UsageError(
            f"--extend: compression.method={method} changes the network by a schedule over the {then} "
            f"epochs, which cannot be extended; start a new run with network.weights={config.run_dir}"
        )


def extended_store(file: Path, pruning: PruningConfig, first: bool) -> tuple[Path, int | None]:
    """Return a saved store for a run with more epochs, and the number of epochs that it was saved for.

    The store is the file itself, with None, if the numbers are the same. Otherwise it is a temporary file
    beside it. The plan of the epoch in progress is kept.

    Args:
        file: the saved store.
        pruning: of the run now.
        first: whether this is rank 0, which writes the temporary file.

    Raises:
        UsageError: the file is damaged.
    """
    then = Snapshot.read_header(file)["pruning"]["epochs"]
    if then >= pruning.epochs:
        return file, None
    extended = file.with_name(f"{TEMPORARY}extended-{file.name}")
    if first:
        snapshot = Snapshot.read(file)
        run = replace(snapshot.run, pruning=snapshot.run.pruning.replace(epochs=pruning.epochs))
        replace(snapshot, run=run).save(extended)
    return extended, then


def remove_shorter_run(earlier: TrainConfig, config: TrainConfig) -> None:
    """Remove the run from a store in another process, if it is there with the earlier number of epochs.

    The checkpoint has all that it holds. A run of that name with other figures stays, and is refused later.
    """
    url = config.store.url
    with suppress(UsageError):  # no such run, or a store that keeps none
        if url.startswith("memory:") or config.name not in {found["run"] for found in list_runs(url)}:
            return
        options = {key: value for key, value in config.store.to_dict().items() if key != "url"}
        with attach(url, config.name, **options) as view:
            held = view.stats()
        if (held.epochs, held.method) == (earlier.pruning.run_epochs, earlier.pruning.method):
            remove_run(url, config.name)


def extension_in_words(config: TrainConfig, before: int, done: int) -> str:
    """Return what an extension changes, in one line.

    Args:
        config: of the run now.
        before: its number of epochs before.
        done: epochs done.
    """
    pruning, training, phases = config.pruning, config.training, Phases.of(config)
    earlier = pruning.replace(epochs=before)
    phases_before = Phases.of(config.replace(training=training.replace(epochs=before), pruning=earlier))
    (at, epochs), (_, epochs_before) = (one.on_schedule(done) for one in (phases, phases_before))
    rates = [cosine_rate(training, min(at, over), over) for over in (epochs, epochs_before)]
    said = (
        f"extended from {before} to {training.epochs} epochs: the learning rate is {rates[0]:.3g}, not "
        f"{rates[1]:.3g}, and reaches 0 with epoch {phases.epochs}"
    )
    last = earlier.run_epochs - 1
    ratios = [
        rule.ratio(k)
        for rule, k in (pruning.rule_of(min(done, pruning.run_epochs - 1)), earlier.rule_of(min(done, last)))
    ]
    if ratios[0] != ratios[1]:
        said += f"; the pruning ratio is {ratios[0]:.3g}, not {ratios[1]:.3g}"
    if training.curriculum:
        phase = phases.at(min(done, phases.epochs - 1))
        said += f"; the curriculum has {phase.in_words} until epoch {phase.end}"
    return said
