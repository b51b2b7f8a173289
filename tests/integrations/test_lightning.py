"""The callback in Lightning's trainer: checkpoints hold the scores, what is put together wrongly is said."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning")

import lightning

import sadp_dist
from sadp_dist import PruningConfig
from sadp_dist.errors import UsageError
from sadp_dist.integrations.lightning import SpikeAwarePruning
from sadp_dist.loading import SequentialShard

N, EPOCHS = 60, 4
GENERATOR = torch.Generator().manual_seed(0)
EXAMPLES = TensorDataset(
    torch.randn(N, 8, generator=GENERATOR), torch.randint(3, (N,), generator=GENERATOR), torch.arange(N)
)


class Network(lightning.LightningModule):
    """One layer, which is trained on what `pruning` selects."""

    def __init__(self, pruning: SpikeAwarePruning, follow: bool = True, lbfgs: bool = False) -> None:
        super().__init__()
        self.lbfgs = lbfgs
        self.seen: dict[int, list[int]] = {}
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 3)
        self.pruning, self.follow = pruning, follow

    def train_dataloader(self):
        if not self.follow:
            return DataLoader(EXAMPLES, 10)
        batches = self.pruning.batch_sampler(10)
        if self.follow == "another sampler":
            batches = SequentialShard(N, 10, 0, 1).batch_sampler
        return DataLoader(EXAMPLES, batch_sampler=batches)

    def training_step(self, batch, _):
        x, y, index = batch
        self.seen.setdefault(self.pruning.shard.epoch, []).extend(index.tolist())
        losses = cross_entropy(self.layer(x), y, reduction="none")
        return sadp_dist.weighted_mean(losses, self.pruning.weights(index))

    def configure_optimizers(self):
        if self.lbfgs:
            return torch.optim.LBFGS(self.parameters(), 0.1, max_iter=3)
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)


def fit(
    folder: Path, follow: bool = True, ckpt_path: Path | None = None, lbfgs: bool = False, **options
) -> SpikeAwarePruning:
    """Train; returns the callback with its store."""
    pruning = SpikeAwarePruning(PruningConfig(ratio=0.5, epochs=EPOCHS, min_probability=0.1), N)
    trainer = lightning.Trainer(
        accelerator="cpu",
        callbacks=[pruning],
        default_root_dir=folder,
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": EPOCHS, **options},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Network(pruning, follow, lbfgs), ckpt_path=ckpt_path)
    return pruning


def test_a_run_that_goes_on_from_a_checkpoint_is_the_same_run(tmp_path):
    whole = fit(tmp_path / "whole").store
    fit(tmp_path / "first", max_epochs=2)
    (checkpoint,) = (tmp_path / "first").glob("checkpoints/*.ckpt")
    resumed = fit(tmp_path / "second", ckpt_path=checkpoint).store
    assert [record.drawn for record in whole.history()] == [N // 2] * EPOCHS
    assert resumed.history() == whole.history()
    assert torch.equal(torch.tensor(resumed.top(N)[0]), torch.tensor(whole.top(N)[0]))


class Interruption(lightning.Callback):
    """Saves a checkpoint after some steps, and ends the run as Ctrl-C does."""

    def __init__(self, file: Path, steps: int) -> None:
        self.file, self.steps = file, steps

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.steps:
            trainer.save_checkpoint(self.file)
            raise KeyboardInterrupt


def run(pruning: SpikeAwarePruning, network: Network, *callbacks, **options):
    """Train without any output of Lightning's."""
    quiet = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        callbacks=[pruning, *callbacks],
        use_distributed_sampler=False,
        **dict.fromkeys(quiet, False),
    )
    trainer.fit(network, **options)


@pytest.mark.parametrize(
    ("steps", "older"), [(1, False), (3, False), (5, False), (12, False), (5, True), (6, True)]
)
def test_a_run_that_was_interrupted_within_an_epoch_goes_on_where_it_was(steps, older, tmp_path):
    """Epochs have three steps: after the first step of all, at the end of an epoch, within a later one.

    Older releases saved no position.
    """

    def new() -> tuple[SpikeAwarePruning, Network]:
        pruning = SpikeAwarePruning(PruningConfig(ratio=0.5, epochs=EPOCHS, min_probability=0.1), N)
        return pruning, Network(pruning)

    whole, first, second = new(), new(), new()
    run(*whole)
    file = tmp_path / "within.ckpt"
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run(*first, Interruption(file, steps))
    if older:
        checkpoint = torch.load(file, weights_only=False)
        del checkpoint["callbacks"]["SpikeAwarePruning"]["position"]
        torch.save(checkpoint, file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", "You're resuming|epoch")  # both Lightning's and ours
        run(*second, ckpt_path=file, weights_only=False)
    both = {epoch: first[1].seen.get(epoch, []) + second[1].seen.get(epoch, []) for epoch in range(EPOCHS)}
    assert both == whole[1].seen
    assert torch.equal(second[1].layer.weight, whole[1].layer.weight)
    assert second[0].store.history() == whole[0].store.history()


def test_scores_do_not_depend_on_gradient_accumulation(tmp_path):
    def scores_of_first_epoch(**options):
        return fit(tmp_path, max_epochs=1, enable_checkpointing=False, **options).store.scores(
            torch.arange(N)
        )

    # In one epoch of one optimizer step the weights are the same for every batch.
    at_once = scores_of_first_epoch(accumulate_grad_batches=100)
    in_two = scores_of_first_epoch(accumulate_grad_batches=50)
    torch.testing.assert_close(torch.tensor(at_once), torch.tensor(in_two), equal_nan=True)
    assert (~torch.tensor(at_once).isnan()).sum() == N // 2


def test_an_optimizer_that_runs_a_batch_several_times_leaves_a_score_of_each_example(tmp_path):
    store = fit(tmp_path, max_epochs=1, lbfgs=True, enable_checkpointing=False).store
    assert (store.scores(torch.arange(N)) > 0).sum() == N // 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_epochs": 9}, "pruning.epochs=4, but Trainer(max_epochs=9)"),
        ({"follow": False}, "the training loader does not use pruning.batch_sampler(batch_size)"),
        ({"follow": "another sampler"}, "the training loader does not use pruning.batch_sampler(batch_size)"),
    ],
)
def test_what_is_put_together_wrongly_is_said_before_a_step_is_made(options, said, tmp_path):
    with pytest.raises(UsageError) as raised:
        fit(tmp_path, **options)
    assert said in str(raised.value)


def test_a_rule_that_trains_anew_after_tracking_is_refused():
    pruning = SpikeAwarePruning(PruningConfig(method="grand"), N)
    with pytest.raises(UsageError, match='method="grand" trains the network twice'):
        pruning.setup(lightning.Trainer(logger=False, enable_checkpointing=False), None, "fit")


def test_outside_of_fit_it_says_where_it_belongs():
    pruning = SpikeAwarePruning(PruningConfig(), N)
    with pytest.raises(UsageError, match=r"call batch_sampler\(\) in train_dataloader"):
        pruning.batch_sampler(10)
    with pytest.raises(UsageError, match="sampler=pruning.batch_sampler"):
        pruning.weights(torch.arange(3))


class OneCycle(Network):
    """A schedule over the steps of the run, as counted by the callback or by Lightning."""

    def __init__(self, pruning: SpikeAwarePruning, by_lightning: bool) -> None:
        super().__init__(pruning)
        self.by_lightning = by_lightning

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        by_lightning = self.trainer.estimated_stepping_batches if self.by_lightning else None
        steps = by_lightning or self.pruning.total_steps(10)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=int(steps))
        return [optimizer], [{"scheduler": self.schedule, "interval": "step"}]


@pytest.mark.parametrize("by_lightning", [False, True])
def test_a_schedule_over_steps_ends_with_the_run_or_a_warning_has_both_numbers(by_lightning, tmp_path):
    pruning = SpikeAwarePruning(PruningConfig(ratio=0.5, max_ratio=0.8, epochs=EPOCHS), N)
    network = OneCycle(pruning, by_lightning)
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        callbacks=[pruning],
        use_distributed_sampler=False,
        accumulate_grad_batches=2,
        enable_checkpointing=False,
        **quiet,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(network)
    said = [str(one.message) for one in caught if "OneCycleLR" in str(one.message)]
    assert pruning.total_steps(10) == trainer.global_step
    assert said == (
        [
            f"OneCycleLR(total_steps={network.schedule.total_steps}): the run has "
            f"{trainer.global_step} steps, as pruning changes the length of an epoch; "
            "pass total_steps=pruning.total_steps(10)"
        ]
        if by_lightning
        else []
    )
    assert not [one for one in caught if "epoch" in str(one.message) and "rank" in str(one.message)]
