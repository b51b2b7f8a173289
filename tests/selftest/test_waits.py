"""What a profile of a step shows as a wait for the device."""

from types import SimpleNamespace

import torch
from torch.autograd import DeviceType
from torch.profiler import record_function

from sadp_dist.selftest.waiting import STEP, waits_in_steps


def event(name, start, end, parent=None, stack=(), device=DeviceType.CPU):
    span = SimpleNamespace(start=start, end=end)
    return SimpleNamespace(name=name, time_range=span, cpu_parent=parent, stack=stack, device_type=device)


def test_a_wait_inside_a_step_is_named_with_what_called_it():
    step = event(STEP, 10, 20)
    item = event("aten::item", 12, 15, step)
    line = "sadp_dist/training/trainer.py(240): train_batch"
    events = [
        step,
        event(STEP, 11, 40, device=DeviceType.CUDA),  # the same step as the device sees it
        item,
        event("cudaMemcpyAsync", 12, 13, item),
        event("cudaStreamSynchronize", 13, 14, item, ["torch/x.py(1): f", line]),
        event("cudaDeviceSynchronize", 30, 31),  # of the profiler, when all is done
    ]
    assert waits_in_steps(events) == [f"cudaStreamSynchronize in aten::item in {line}"]


def test_a_profile_of_torch_has_what_is_read_of_it():
    with torch.profiler.profile(with_stack=True) as profile, record_function(STEP):
        torch.ones(3).sum().item()
    names = {found.name for found in profile.events()}
    assert {STEP, "aten::item"} <= names
    assert waits_in_steps(profile.events()) == []
