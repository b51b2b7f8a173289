"""Pushes from the device: through pinned memory, without waiting, with the same bits."""

from __future__ import annotations

import numpy as np
import torch

from sadp_dist.selftest.part import CORRECTNESS, Figures
from sadp_dist.selftest.setting import Setting
from sadp_dist.selftest.waiting import no_waiting
from sadp_dist.store.client.buffer import PushBuffer
from sadp_dist.store.engine.run import Records

SLEEP = 100_000_000
"""Cycles, about 50 ms: much longer than a push, so that a push that waits is seen."""
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@CORRECTNESS.check("pushes have the same bits and do not wait")
def pushes(setting: Setting) -> Figures:
    """Push scores of every dtype behind a kernel that keeps the device busy, with indices and masks from
    either side, and overwrite the tensors at once."""
    device, size = setting.device, setting.sizes.batch
    received: list[Records] = []
    buffer = PushBuffer(
        size, lambda some: received.append(Records(some.indices.copy(), some.scores.copy(), some.epoch))
    )
    rng = np.random.default_rng(0)
    waiting = 0
    for number, dtype in enumerate([*DTYPES, *DTYPES]):  # pinned memory of the first ones is used again
        values = torch.from_numpy(rng.lognormal(size=size)).to(dtype)
        indices, valid = torch.arange(size), torch.arange(size) % 3 != 0
        expected = values[valid].double().numpy().astype(np.float32)
        chosen = indices[valid].tolist()
        scores = values.to(device)
        given = [x.to(device) if number % 2 else x.numpy() for x in (indices, valid)]
        if setting.on_gpu:
            torch.cuda.synchronize()
            torch.cuda._sleep(SLEEP)
        with no_waiting(device):
            buffer.push(given[0], scores, epoch=number, valid=given[1])
            scores.zero_()  # after the copy, in the order of the stream
        waiting += number >= len(DTYPES) and len(received) == number
        if isinstance(given[0], np.ndarray):
            given[0][:] = 0  # as a loader does with the next batch
        buffer.drain()
        records = received[-1]
        assert (len(received), records.epoch) == (number + 1, number)
        assert records.indices.tolist() == chosen, f"{dtype}: {records.indices}"
        assert records.scores.tobytes() == expected.tobytes(), f"{dtype}: {records.scores}, not {expected}"
    if setting.on_gpu:
        assert waiting == len(DTYPES), f"only {waiting} of {len(DTYPES)} pushes were still on their way"
    return {"dtypes with the same bits": len(DTYPES), "pushes that were still on their way": waiting}
