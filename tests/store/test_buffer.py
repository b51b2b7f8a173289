"""Pushes whose scores are still on their way from a device."""

import numpy as np
import pytest
import torch

from sadp_dist.errors import UsageError
from sadp_dist.store.client import buffer
from sadp_dist.store.client.buffer import PushBuffer

N = 10


class SlowDevice:
    """Plays the device: a push's copies arrive when it is told so, or when somebody waits for them."""

    def __init__(self, monkeypatch):
        self.asked = []  # (pinned tensor, its values) in the order of the stream
        self.waits = 0
        monkeypatch.setattr(buffer, "_is_on_cuda", lambda array: isinstance(array, torch.Tensor))
        monkeypatch.setattr(buffer, "_copy_to_pinned", self.copy)
        monkeypatch.setattr(buffer, "_event_after", lambda array: Event(self, len(self.asked)))
        self.done = 0

    def copy(self, tensor):
        self.asked.append((torch.zeros_like(tensor), tensor.clone()))
        return self.asked[-1][0]

    def run_until(self, copies):
        for pinned, values in self.asked[self.done : copies]:
            pinned.copy_(values)
        self.done = max(self.done, copies)


class Event:
    def __init__(self, device, copies):
        self.device, self.copies = device, copies

    def query(self):
        return self.device.done >= self.copies

    def synchronize(self):
        self.device.waits += not self.query()
        self.device.run_until(self.copies)


@pytest.fixture
def device(monkeypatch):
    return SlowDevice(monkeypatch)


@pytest.fixture
def received():
    return []


@pytest.fixture
def pushes(received):
    return PushBuffer(
        N, lambda records: received.append((records.indices.tolist(), records.scores.tolist(), records.epoch))
    )


def test_a_push_waits_for_its_copy_and_nobody_waits_for_the_push(device, pushes, received):
    pushes.push(torch.tensor([1, 2]), torch.tensor([0.5, 1.5]), epoch=3)
    pushes.push(torch.tensor([4]), torch.tensor([2.5]), epoch=3)
    assert received == []
    device.run_until(copies=2)  # indices and scores
    pushes.push(torch.tensor([5]), torch.tensor([3.5]), epoch=3)
    assert received == [([1, 2], [0.5, 1.5], 3)]
    assert device.waits == 0


def test_drain_waits_for_every_copy(device, pushes, received):
    for index in range(3):
        pushes.push(torch.tensor([index]), torch.tensor([0.5]), epoch=1)
    pushes.drain()
    assert [indices for indices, _, _ in received] == [[0], [1], [2]]


def test_a_bad_score_found_late_names_its_epoch_and_harms_no_other_push(device, pushes, received):
    pushes.push(torch.tensor([1, 2]), torch.tensor([0.5, float("nan")]), epoch=7)
    device.run_until(copies=2)  # indices and scores
    with pytest.raises(
        UsageError, match=r"a push before this call was refused: scores\[1\]=nan of example 2, epoch=7"
    ):
        pushes.push(torch.tensor([3]), torch.tensor([1.5]), epoch=8)
    assert pushes.rejected == 1
    pushes.drain()
    assert received == [([3], [1.5], 8)]


def test_shapes_and_dtypes_are_checked_before_the_copy_arrives(device, pushes):
    with pytest.raises(UsageError, match="2 indices and 1 scores"):
        pushes.push(torch.tensor([1, 2]), torch.tensor([0.5]), epoch=0)
    with pytest.raises(UsageError, match="indices have dtype float32"):
        pushes.push(torch.tensor([1.0]), torch.tensor([0.5]), epoch=0)
    assert pushes.rejected == 2


def test_a_waiting_push_does_not_see_its_callers_arrays_change(device, pushes, received):
    indices, valid = np.array([1, 2, 3]), np.array([True, True, False])
    pushes.push(indices, torch.tensor([0.5, 1.5, float("nan")]), epoch=0, valid=valid)
    indices[:], valid[:] = 9, True
    pushes.drain()
    assert received == [([1, 2], [0.5, 1.5], 0)]


def test_half_precision_is_widened_before_the_copy(device, pushes, received):
    pushes.push(torch.tensor([1]), torch.tensor([0.75], dtype=torch.bfloat16), epoch=0)
    pushes.drain()
    assert received == [([1], [0.75], 0)]
