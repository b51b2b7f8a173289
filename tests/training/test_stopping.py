"""A signal ends a run after its step, saved, on all ranks; then it goes on as if nothing had happened."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from sadp_dist.training import parse_config, stopping
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.processes import Process
from sadp_dist.training.stopping import StopRequest
from tests.forked import run_forked, run_ranks
from tests.training.conftest import environment, newest_state

STOPPED = Path(__file__).with_name("stopped.py")


@pytest.mark.parametrize(("ranks", "name"), [(1, "SIGINT"), (2, "SIGTERM")])
def test_a_run_that_a_signal_ends_goes_on_bit_for_bit(recipe, few_digits, arguments, launch, ranks, name):
    sections = {"data": few_digits, "training": {"epochs": 3, "batch_size": 16}}
    straight, ended = (recipe(name=run, **sections) for run in ("straight", "ended"))
    assert launch(straight, processes=ranks).returncode == 0

    words = [STOPPED, name, ranks - 1, 1, 1, *arguments(ended)[2:]]
    call = run_forked if ranks == 1 else (lambda *a, **k: run_ranks(*a, ranks, **k))
    stopped = call(words, env=environment())
    assert stopped.returncode == 128 + signal.Signals[name], stopped.stderr
    run_dir = parse_config(ended).run_dir
    batch = 1 + ranks  # the ranks know of it one step later
    said = (
        f"sadp-dist: {name}: saved epoch 2 of 3, batch {batch}, in {run_dir}; continue with the same command"
    )
    assert stopped.stderr.count(said) == 1, stopped.stderr
    assert Checkpoints(run_dir).all()[-1].name == f"e0001-b{batch:06}"

    resumed = launch(ended, "--resume", processes=ranks)
    assert resumed.returncode == 0, resumed.stderr
    assert f"resuming at epoch 2 of 3, batch {batch + 1}" in resumed.stdout
    expected, got = (newest_state(parse_config(raw).run_dir)["network"] for raw in (straight, ended))
    assert all(torch.equal(tensor, got[key]) for key, tensor in expected.items())


@pytest.fixture
def handlers():
    """Python's own handlers; commands that other tests have called in this process may have left theirs."""
    defaults = dict.fromkeys(stopping.SIGNALS, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_second_signal_acts_at_once_unless_it_is_the_same_request(monkeypatch, handlers):
    with StopRequest(Process(0, 1, torch.device("cpu"))) as stop:
        assert stop.after_step() == (0, False)
        signal.raise_signal(signal.SIGINT)
        assert stop.after_step().stop == signal.SIGINT
        signal.raise_signal(signal.SIGTERM)  # as torchrun does after Ctrl-C
        assert stop.after_step(save=True) == (signal.SIGINT, True)
        monkeypatch.setattr(stopping, "SAME", -1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):  # as before
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_checkpoint_that_is_too_old_is_followed_by_one_on_all_ranks(recipe, few_digits, launch, ranks):
    """Saving in the middle of epochs changes nothing else."""
    training = {"epochs": 2, "batch_size": 16, "keep_checkpoints": 100}
    plain, timed = (recipe(name=run, data=few_digits, training=training) for run in ("plain", "timed"))
    timed["training"]["checkpoint_minutes"] = 1e-9
    assert launch(plain, processes=ranks).returncode == 0
    done = launch(timed, processes=ranks)
    assert done.returncode == 0, done.stderr
    runs = [parse_config(raw).run_dir for raw in (plain, timed)]
    at_ends, often = ([saved.name for saved in Checkpoints(run_dir).all()] for run_dir in runs)
    assert at_ends == ["e0001-b000000", "e0002-b000000"]
    within = [name for name in often if name not in at_ends]
    # Two ranks agree one step later, and begin to ask again after the checkpoint.
    first, second = ("e0000-b000001", "e0000-b000002") if ranks == 1 else ("e0000-b000002", "e0000-b000004")
    assert within[:2] == [first, second]
    expected, got = (newest_state(run_dir)["network"] for run_dir in runs)
    assert all(torch.equal(tensor, got[key]) for key, tensor in expected.items())
