"""`PrunedTrainer` on two ranks trains each planned example once, with the weights of one process."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from tests.forked import run_ranks
from tests.integrations.test_huggingface import by_hand, trainer_of

pytestmark = pytest.mark.slow
RANK = Path(__file__).with_name("huggingface_rank.py")
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def test_two_ranks_train_as_one_process_and_one_continues_their_run(tmp_path):
    done = run_ranks([RANK, tmp_path, 1, 2], 2)
    assert done.returncode == 0, done.stderr
    for accumulate in (1, 2):
        folder = tmp_path / str(accumulate)
        first, second = (torch.load(folder / f"{rank}.pt") for rank in range(2))
        network, drawn, scores = by_hand(accumulate, batch_size=16)
        assert first["drawn"] == drawn
        assert sorted(first["seen"] + second["seen"]) == sorted(network.seen)
        torch.testing.assert_close(first["weights"], second["weights"], rtol=0, atol=0)
        torch.testing.assert_close(first["weights"], network.state_dict(), **CLOSE)
        torch.testing.assert_close(first["scores"], scores, equal_nan=True, **CLOSE)

        resumed = trainer_of(
            tmp_path / "resumed", per_device_train_batch_size=16, gradient_accumulation_steps=accumulate
        )
        resumed.train(str(folder / "checkpoint-1"))  # within the first epoch
        assert sorted(resumed.model.seen) == sorted(network.seen[-len(resumed.model.seen) :])
        assert sum(drawn) - len(resumed.model.seen) == {1: 16, 2: 24}[accumulate]  # the first step
        torch.testing.assert_close(resumed.model.state_dict(), network.state_dict(), **CLOSE)
