"""`PrunedTrainer` trains on the plan of each epoch as a loop by hand does, and refuses what it cannot do."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import IterableDataset

pytest.importorskip("transformers")

import transformers

from sadp_dist import PruningConfig, connect, weighted_mean
from sadp_dist.errors import UsageError
from sadp_dist.integrations.huggingface import STATE_FILE, PrunedTrainer
from sadp_dist.loading import PruningSampler
from sadp_dist.scoring import SpikeAwareScorer
from tests.forked import run_forked

N, EPOCHS = 60, 4
GENERATOR = torch.Generator().manual_seed(0)
X, Y = torch.randn(N, 8, generator=GENERATOR), torch.randint(3, (N,), generator=GENERATOR)
ROWS = [{"x": X[i], "labels": Y[i], "number": i, "unused": "text"} for i in range(N)]
PRUNING = {"ratio": 0.5, "max_ratio": 0.8}  # epochs of different lengths


class Network(nn.Module):
    """Two layers, which note the examples that they are trained on."""

    def __init__(self, dropout: float = 0.0, outputs: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, outputs))
        self.seen: list[int] = []
        self.config = transformers.PretrainedConfig()  # with label smoothing, `Trainer` reads it

    def forward(self, x, number, labels=None):
        if self.training:
            self.seen += number.tolist()
        return {"logits": self.layers(x)}


def trainer_of(folder: Path, network: nn.Module | None = None, **options) -> PrunedTrainer:
    """A trainer; `options` are those of `PrunedTrainer` and of `TrainingArguments`."""
    names = ("train_dataset", "pruning", "compute_loss_func", "callbacks", "store", "scoring")
    own = {name: options.pop(name) for name in names if name in options}
    arguments = {
        "num_train_epochs": EPOCHS,
        "per_device_train_batch_size": 8,
        "optim": "sgd",
        "learning_rate": 0.5,
        "max_grad_norm": 0.0,
        "logging_strategy": "epoch",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
    }
    args = transformers.TrainingArguments(str(folder), **{**arguments, **options})
    own = {"train_dataset": ROWS, "eval_dataset": ROWS, "pruning": PRUNING, **own}
    return PrunedTrainer(network or Network(), args, **own)


def by_hand(accumulate: int, batch_size: int = 8) -> tuple[Network, list[int], torch.Tensor]:
    """Train with the parts; the examples of an optimizer step are one batch."""
    network = Network()
    pruning = PruningConfig(method="sadp-plus", epochs=EPOCHS, **PRUNING)
    store = connect("memory:", run="by hand", dataset_size=N, pruning=pruning)
    sampler = PruningSampler(store, batch_size, accumulate=accumulate)
    scorer = SpikeAwareScorer(network)
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    steps = sampler.total_batches(accumulate=accumulate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (steps - step) / steps)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        order, ends = torch.tensor(list(sampler)), sampler.batch_sizes.cumsum().tolist()
        bounds = [0, *ends[accumulate - 1 : -1 : accumulate], len(order)]
        for index in (order[first:end] for first, end in pairwise(bounds)):
            weights = sampler.weights(index)
            with scorer:
                losses = cross_entropy(network(X[index], index)["logits"], Y[index], reduction="none")
                weighted_mean(losses, weights).backward()
            store.push(index, scorer.scores(weights / len(index)), epoch=epoch, valid=weights > 0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return network, [record.drawn for record in store.history()], torch.tensor(store.scores(range(N)))


def same_weights(one: nn.Module, other: nn.Module, **tolerance: float) -> None:
    torch.testing.assert_close(one.state_dict(), other.state_dict(), **tolerance)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_trains_as_a_loop_by_hand_with_evaluation_in_between(accumulate, tmp_path):
    network, drawn, scores = by_hand(accumulate)
    assert len({*drawn}) == EPOCHS
    trainer = trainer_of(
        tmp_path, gradient_accumulation_steps=accumulate, eval_strategy="steps", eval_steps=1
    )
    trainer.train()
    same_weights(trainer.model, network, rtol=1e-5, atol=1e-6)
    assert trainer.model.seen == network.seen
    torch.testing.assert_close(torch.tensor(trainer.store.scores(range(N))), scores, equal_nan=True)
    steps = trainer.sampler.total_batches(accumulate=accumulate)
    assert trainer.state.global_step == trainer.state.max_steps == steps
    assert {*trainer.lr_scheduler.get_last_lr()} == {0.0}
    epochs = [log["epoch"] for log in trainer.state.log_history if "loss" in log]
    assert epochs == [1, 2, 3, 4]
    assert sum("eval_loss" in log for log in trainer.state.log_history) == steps


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_continues_from_any_checkpoint_as_if_it_had_not_stopped(accumulate, tmp_path):
    options = {"gradient_accumulation_steps": accumulate, "save_strategy": "steps", "save_steps": 1}
    whole = trainer_of(tmp_path, Network(dropout=0.5), **options)
    whole.train()
    steps = whole.state.global_step
    checked = range(1, steps + 1) if accumulate == 2 else (1, 6, 7, steps)  # 6 steps are the first epoch
    for step in checked:
        resumed = trainer_of(tmp_path / "resumed", Network(dropout=0.5), **options)
        resumed.train(str(tmp_path / f"checkpoint-{step}"))
        same_weights(resumed.model, whole.model, rtol=0, atol=0)
        assert resumed.store.history() == whole.store.history()
        assert resumed.model.seen == whole.model.seen[len(whole.model.seen) - len(resumed.model.seen) :]
        assert (resumed.state.global_step, resumed.state.epoch) == (steps, EPOCHS)
    assert resumed.model.seen == []
    latest = trainer_of(tmp_path, Network(dropout=0.5), **options)
    latest.train(resume_from_checkpoint=True)
    assert latest.state.global_step == steps


class Preemption(transformers.TrainerCallback):
    """Asks for a checkpoint in the middle of a step, as SIGTERM does."""

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 2:
            self.trainer.jit.is_checkpoint_requested = True


def test_a_checkpoint_before_the_optimizer_has_stepped_trains_on_that_step_again(tmp_path):
    whole = trainer_of(tmp_path / "whole", gradient_accumulation_steps=2)
    whole.train()
    preemption = Preemption()
    options = {"gradient_accumulation_steps": 2, "enable_jit_checkpoint": True}
    stopped = trainer_of(tmp_path / "jit", callbacks=[preemption], **options)
    preemption.trainer = stopped
    (stopped.jit,) = (
        callback.jit_manager
        for callback in stopped.callback_handler.callbacks
        if type(callback).__name__ == "JITCheckpointCallback"
    )
    stopped.train()
    resumed = trainer_of(tmp_path / "jit", **options)
    resumed.train(resume_from_checkpoint=True)
    same_weights(resumed.model, whole.model, rtol=0, atol=0)
    assert resumed.model.seen == whole.model.seen[-len(resumed.model.seen) :]
    assert len(stopped.model.seen) + len(resumed.model.seen) > len(whole.model.seen)


def test_a_checkpoint_without_scores_is_refused(tmp_path):
    trainer_of(tmp_path, save_strategy="epoch").train()
    (checkpoint, *_) = sorted(tmp_path.glob("checkpoint-*"))
    (checkpoint / STATE_FILE).unlink()
    with pytest.raises(UsageError, match=f"there is no {STATE_FILE} with the scores"):
        trainer_of(tmp_path).train(str(checkpoint))
    with pytest.raises(UsageError, match="resume_from_checkpoint=True: there is no checkpoint in"):
        trainer_of(tmp_path / "empty").train(resume_from_checkpoint=True)


def test_a_step_of_fewer_examples_than_accumulated_batches_is_a_step_of_its_own(tmp_path):
    trainer = trainer_of(
        tmp_path, per_device_train_batch_size=1, gradient_accumulation_steps=7, logging_steps=1
    )
    trainer.train()
    drawn = [record.drawn for record in trainer.store.history()]
    assert any(size % 7 for size in drawn)
    assert trainer.state.global_step == sum(-(-size // 7) for size in drawn)
    assert trainer.store.stats().pushed_scores == sum(drawn)


@pytest.mark.parametrize(
    "pruning",
    [
        {"method": "sadp", "scheme": "bernoulli"},
        {"method": "sadp", "schedule": "paper", "max_ratio": 1.0},  # the last epoch is empty
        {"method": "infobatch"},  # keeps more than its ratio says
        {"method": "rs2"},
    ],
    ids=lambda pruning: "-".join(map(str, pruning.values())),
)
@pytest.mark.filterwarnings("ignore:a pruning ratio of 1 keeps no example")
def test_every_rule_trains_on_all_that_it_draws(pruning, tmp_path):
    trainer = trainer_of(tmp_path, pruning=pruning)
    trainer.train()
    drawn = [record.drawn for record in trainer.store.history()]
    assert len(drawn) == EPOCHS and len(trainer.model.seen) == sum(drawn)
    assert all(
        len({*trainer.model.seen[end - size : end]}) == size
        for size, end in zip(drawn, torch.tensor(drawn).cumsum(0).tolist(), strict=True)
    )
    assert trainer.state.max_steps == trainer.state.global_step


@pytest.mark.parametrize("scale", [64.0, float("inf")])
def test_scores_do_not_depend_on_the_scale_of_fp16_and_steps_that_overflow_have_none(scale, tmp_path):
    plain, scaled = trainer_of(tmp_path), trainer_of(tmp_path)
    scaled.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)  # fp16=True needs a GPU
    for trainer in (plain, scaled):
        trainer.train()
    if scale < float("inf"):
        same_weights(scaled.model, plain.model, rtol=1e-5, atol=1e-6)
        of_plain, of_scaled = (torch.tensor(one.store.scores(range(N))) for one in (plain, scaled))
        torch.testing.assert_close(of_scaled, of_plain, equal_nan=True)
    else:
        same_weights(scaled.model, Network(), rtol=0, atol=0)
        assert scaled.store.stats().seen == 0


def test_as_many_tokens_as_examples_in_a_batch_are_no_time_steps(tmp_path):
    """The scores of one epoch without a step do not depend on the batches."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=20, num_labels=3, hidden_dropout_prob=0.0, **sizes)
    config.attention_probs_dropout_prob = 0.0
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config)
    rows = [{"input_ids": torch.arange(i, i + 6) % 20, "labels": i % 3} for i in range(N)]
    scores = []
    for size in (6, 5):
        options = {"learning_rate": 0.0, "num_train_epochs": 1, "per_device_train_batch_size": size}
        scoring = {"layers": ["bert.encoder.layer.0.output.dense", "classifier"]}
        trainer = trainer_of(
            tmp_path, model, train_dataset=rows, scoring=scoring, pruning={"ratio": 0.5}, **options
        )
        trainer.train()
        scores.append(torch.tensor(trainer.store.scores(range(N))))
    assert scores[0].isfinite().sum() == N // 2
    torch.testing.assert_close(scores[0], scores[1], equal_nan=True, rtol=1e-4, atol=1e-6)


def test_another_task_gives_its_losses(tmp_path):
    def squares(outputs, labels, num_items_in_batch=None):
        return (outputs["logits"][:, 0] - labels).square()

    trainer = trainer_of(tmp_path, Network(outputs=1), compute_loss_func=squares, learning_rate=0.05)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < before


def test_label_smoothing_is_that_of_trainer(tmp_path):
    options = {"label_smoothing_factor": 0.2}
    ours = trainer_of(tmp_path, **options)
    args, network = ours.args, Network()
    theirs = transformers.Trainer(network, args, eval_dataset=ROWS)
    assert ours.evaluate()["eval_loss"] == pytest.approx(theirs.evaluate()["eval_loss"])


def test_a_second_run_begins_anew_with_a_model_of_its_own(tmp_path):
    pruning = {"ratio": 0.5, "method": "sadp", "stratify": "class-score"}
    args = trainer_of(tmp_path).args
    trainer = PrunedTrainer(
        args=args,
        model_init=lambda: Network(),
        train_dataset=ROWS,
        pruning=pruning,
        labels=Y,
        scoring={"layers": "all"},
    )
    trainer.train()
    first, scores = trainer.model, trainer.store.scores(range(N))
    trainer.train()
    assert trainer.model is not first and trainer.model.seen == first.seen
    same_weights(trainer.model, first, rtol=0, atol=0)
    assert trainer.scorer.layers == ("layers.0", "layers.3")
    torch.testing.assert_close(
        torch.tensor(trainer.store.scores(range(N))), torch.tensor(scores), equal_nan=True
    )


def test_outside_of_a_run_the_training_loader_is_that_of_trainer(tmp_path):
    loader = trainer_of(tmp_path).get_train_dataloader()
    assert sorted(number for batch in loader for number in batch["number"].tolist()) == [*range(N)]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(ROWS)

    def __len__(self):
        return N


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_steps": 9}, "max_steps=9: pruning plans whole epochs; give num_train_epochs instead"),
        ({"pruning": {"epochs": 5}}, "pruning.epochs=5, but num_train_epochs=4; every epoch needs a"),
        ({"num_train_epochs": 2.5, "pruning": {"epochs": 3}}, "but num_train_epochs=2.5"),
        ({"pruning": {"method": "forgetting"}}, "needs the score 'error', which PrunedTrainer cannot"),
        ({"pruning": {"method": "grand"}}, "trains the network twice"),
        ({"train_dataset": Stream()}, "dataset: Stream is not map-style"),
        ({"train_sampling_strategy": "group_by_length"}, "train_sampling_strategy='group_by_length'"),
        ({"dataloader_drop_last": True}, "dataloader_drop_last=True"),
        ({"auto_find_batch_size": True}, "auto_find_batch_size=True"),
        ({"accelerator_config": {"split_batches": True}}, "accelerator_config.split_batches=True"),
        ({"accelerator_config": {"dispatch_batches": True}}, "accelerator_config.dispatch_batches=True"),
        ({"dataloader_in_order": False, "dataloader_num_workers": 1}, "in_order=False"),
        (
            {"compute_loss_func": lambda outputs, labels, **_: cross_entropy(outputs["logits"], labels)},
            r"compute_loss_func: returned shape \[\] for a batch of",
        ),
        (
            {"train_dataset": [{**row, "labels": row["x"]} for row in ROWS]},
            r"labels \[\d, 8\]: a classifier has \[B, C\] and integers",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_does_not_go_together_with_pruning_is_refused(options, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        trainer_of(tmp_path, **options).train()


def test_processes_that_are_no_ranks_of_a_job_are_refused(tmp_path, monkeypatch):
    trainer = trainer_of(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="WORLD_SIZE=2, but Trainer makes each process a job of its own"):
        trainer.train()


def test_a_search_of_hyperparameters_is_refused(tmp_path):
    with pytest.raises(UsageError, match="hyperparameter_search"):
        trainer_of(tmp_path).train(trial={})


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_of_hugging_face_trains_as_its_rows(workers, tmp_path):
    datasets = pytest.importorskip("datasets")
    columns = {"x": X.tolist(), "labels": Y.tolist(), "number": [*range(N)], "unused": ["text"] * N}
    runs = [trainer_of(tmp_path)]
    options = {"dataloader_num_workers": workers, "dataloader_persistent_workers": workers > 0}
    for dataset in (
        datasets.Dataset.from_dict(columns),
        datasets.Dataset.from_dict(columns).with_format("torch"),
    ):
        runs.append(trainer_of(tmp_path, train_dataset=dataset, **options))
    for trainer in runs:
        trainer.train()
        assert trainer.model.seen == runs[0].model.seen
        same_weights(trainer.model, runs[0].model, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            "sys.modules['transformers'] = None",
            "MissingExtra: transformers is not installed; install it with: "
            "pip install 'sadp_dist[huggingface]'",
        ),
        ("sys.path.insert(0, '.')", "UsageError: transformers.Trainer cannot be imported: for another torch"),
    ],
    ids=["missing", "broken"],
)
def test_what_keeps_the_trainer_from_being_imported_is_said_in_one_line(broken, said, tmp_path):
    (tmp_path / "torchaudio.py").write_text("raise RuntimeError('for another torch\\nInstall it again')\n")
    code = f"""
import sys
{broken}
try:
    import sadp_dist.integrations.huggingface
except Exception as error:
    print(f"{{type(error).__name__}}: {{error}}")
"""
    assert run_forked(["-c", code], cwd=tmp_path).stdout == f"{said}\n"
