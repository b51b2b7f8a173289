"""One rank of a job that trains with `PrunedTrainer`; `test_huggingface_ranks.py` starts it.

    python huggingface_rank.py FOLDER ACCUMULATE...     with RANK and WORLD_SIZE in the environment

For each number of accumulated batches, it writes to FOLDER/ACCUMULATE/RANK.pt the examples that it trained on
and the weights, and on rank 0 also the scores.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from tests.integrations.test_huggingface import N, trainer_of


def train(folder: Path, accumulate: int) -> None:
    trainer = trainer_of(
        folder,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=accumulate,
        eval_strategy="epoch",
        save_strategy="steps",
        save_steps=1,
        ddp_backend="gloo",
    )
    trainer.train()
    result = {"seen": trainer.model.seen, "weights": trainer.model.state_dict()}
    if dist.get_rank() == 0:
        result["drawn"] = [record.drawn for record in trainer.store.history()]
        result["scores"] = torch.tensor(trainer.store.scores(range(N)))
    torch.save(result, folder / f"{dist.get_rank()}.pt")


if __name__ == "__main__":
    for accumulate in sys.argv[2:]:
        train(Path(sys.argv[1], accumulate), int(accumulate))
    dist.destroy_process_group()
