"""Mistakes with a `PrunedTrainer`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.mistakes.case import Table

TRAINER = Table()
ROWS = [{"x": torch.rand(3), "labels": number % 2} for number in range(42)]


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        return {"logits": self.layer(x)}


def train(
    folder: Path,
    rows: Any = ROWS,
    pruning: Mapping[str, Any] | None = None,
    checkpoint: str | None = None,
    losses: Any = None,
    **arguments: Any,
) -> None:
    """Train for two epochs on batches of four."""
    from transformers import TrainingArguments

    from sadp_dist.integrations.huggingface import PrunedTrainer

    quiet = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": True}
    options = {"num_train_epochs": 2, "per_device_train_batch_size": 4, **quiet, **arguments}
    trainer = PrunedTrainer(
        Network(),
        TrainingArguments(str(folder / "out"), dataloader_pin_memory=False, **options),
        train_dataset=rows,
        pruning=pruning or {"ratio": 0.5},
        compute_loss_func=losses,
    )
    trainer.train(checkpoint)


@TRAINER.row("`max_steps`", "the ratio of an epoch depends on the number of epochs")
def _(folder: Path) -> None:
    train(folder, max_steps=100)


@TRAINER.row("other epochs in the trainer than in `pruning`", "every epoch needs a pruning ratio")
def _(folder: Path) -> None:
    train(folder, pruning={"epochs": 10})


@TRAINER.row("`dataloader_drop_last=True`", "the weights count on every example of the plan")
def _(folder: Path) -> None:
    train(folder, dataloader_drop_last=True)


@TRAINER.row('`train_sampling_strategy="group_by_length"`', "the plan chooses the examples and their order")
def _(folder: Path) -> None:
    train(folder, train_sampling_strategy="group_by_length")


@TRAINER.row("`auto_find_batch_size=True`", "the batch size may not change within an epoch")
def _(folder: Path) -> None:
    train(folder, auto_find_batch_size=True)


@TRAINER.row('`accelerator_config={"split_batches": True}`', "each rank would train on a part of its share")
def _(folder: Path) -> None:
    train(folder, accelerator_config={"split_batches": True})


@TRAINER.row("`compute_loss_func` returns a mean", "weights times a scalar weight nothing")
def _(folder: Path) -> None:
    def mean(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return torch.nn.functional.cross_entropy(outputs["logits"], labels)

    train(folder, losses=mean)


@TRAINER.row(
    "another task than classification, without `compute_loss_func`", "the model's loss is a mean already"
)
def _(folder: Path) -> None:
    train(folder, rows=[{**row, "labels": row["x"]} for row in ROWS])


@TRAINER.row(
    "a checkpoint of another trainer", "without scores and position, examples would be trained on again"
)
def _(folder: Path) -> None:
    train(folder, checkpoint=str(folder / "checkpoint-8"))
