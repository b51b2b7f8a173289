"""One rank of a real torch.distributed job over a store; `test_shared.py` and `test_ranks.py` start it.

    python rank.py SCENARIO FOLDER URL      with RANK and WORLD_SIZE in the environment

What the rank saw goes into FOLDER/SCENARIO-RANK.json.
"""

import json
import os
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from sadp_dist import PruningConfig, connect
from sadp_dist.errors import UsageError
from sadp_dist.store import Store, StoreUnavailable
from sadp_dist.store.client import buffer
from sadp_dist.store.engine.engine import Engine

N = 103
URL = sys.argv[3]
RANK, WORLD_SIZE = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
PRUNING = PruningConfig(ratio=0.4, max_ratio=0.6, epochs=5, min_probability=0.1, seed=2)


def new_store(pruning: PruningConfig = PRUNING, dataset_size: int = N) -> Store:
    return connect(URL, "job", dataset_size, pruning, labels=np.arange(dataset_size) % 4)


def push_mine(store: Store, epoch: int) -> None:
    """This rank's part of an epoch's scores, which do not depend on the world size, in several pushes."""
    scores = torch.from_numpy(np.random.default_rng(epoch).lognormal(size=N))
    mine = torch.arange(RANK, N, WORLD_SIZE)
    for batch in mine.split(8):
        store.push(batch, scores[batch], epoch=epoch)
    batch.fill_(0)  # a loader reuses its memory


def shard_of(store: Store, epoch: int) -> dict:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in asdict(store.plan(epoch)).items()
    }


def refusal_of(call, *arguments, **keywords) -> str:
    try:
        call(*arguments, **keywords)
    except UsageError as refusal:
        return str(refusal)
    return "not refused"


def a_device_that_is_busy():
    """Tensors count as a GPU's, and their copies are still under way whenever one asks."""
    event = mock.Mock(**{"query.return_value": False})
    return mock.patch.multiple(
        buffer,
        _is_on_cuda=lambda array: isinstance(array, torch.Tensor),
        _copy_to_pinned=torch.clone,
        _event_after=lambda array: event,
    )


def same_plans(folder: Path) -> dict:
    """Three epochs, saved in the middle of the last, lost and loaded again."""
    store = new_store()
    seen = {"shards": [shard_of(store, 0)]}
    for epoch in (0, 1):
        push_mine(store, epoch)
        if RANK == 0:
            store.record(epoch, {"loss": 1 / (1 + epoch)})
        seen["shards"].append(shard_of(store, epoch + 1))
    push_mine(store, 2)
    store.save(folder / "store.npz")
    store.close()
    store = new_store()
    push_mine(store, 4)  # forgotten by loading
    store.load(folder / "store.npz")
    seen["shards"] += [shard_of(store, 2), shard_of(store, 3)]
    if RANK == 0:
        seen["stats"] = store.stats().to_dict()
        seen["scores"] = store.scores(torch.arange(N)).tolist()
        seen["top"] = store.top(3)[0].tolist()
        seen["changed"] = [values.tolist() for values in store.top(N, by="change")]
        seen["history"] = [record.to_dict() for record in store.history()]
    return seen


def refusals(folder: Path) -> dict:
    """Everything that goes wrong on one rank only, and that the store is as good as before after it."""
    store = new_store()
    other = new_store(PruningConfig(epochs=5))
    other.save(folder / "other.npz")
    (folder / "text.npz").write_text("not a store")
    push_mine(store, 0)
    before = shard_of(store, 1)
    last = WORLD_SIZE - 1
    is_last = last == RANK

    seen = {
        "rank out of range": refusal_of(store.plan, 1, rank=RANK + RANK // last, world_size=WORLD_SIZE),
        "epoch out of range": refusal_of(store.plan, 5 if is_last else 1),
        "two epochs": refusal_of(store.plan, 2 if is_last else 1),
        "two calls": refusal_of(store.flush) if is_last else refusal_of(store.save, folder / "never.npz"),
        "nowhere to save": refusal_of(store.save, folder / "none" / "store.npz"),
        "not a store": refusal_of(store.load, folder / "text.npz"),
        "another configuration": refusal_of(store.load, folder / "other.npz"),
        "another dataset": refusal_of(new_store, dataset_size=N + RANK),
        "a bad argument": refusal_of(new_store, dataset_size=0 if is_last else N),
    }
    if is_last:
        seen["bad push here"] = refusal_of(store.push, [1, N], [1.0, 1.0], epoch=1)
        seen["stats here"] = refusal_of(store.stats)
        with a_device_that_is_busy():
            store.push(torch.tensor([3]), torch.tensor([float("nan")]), epoch=0)
    seen["a push found bad late"] = refusal_of(store.plan, 2)
    with mock.patch.object(Engine, "plan", side_effect=ZeroDivisionError("by nothing")):
        try:
            store.plan(2)
        except RuntimeError as error:
            seen["a fault of ours"] = str(error)
    seen["same plan after it all"] = shard_of(store, 1) == before
    seen["never saved"] = not (folder / "never.npz").exists()
    if RANK == 0:
        seen["rejected_pushes"] = store.stats().rejected_pushes
    return seen


def closing(folder: Path) -> dict:
    """Queries see what this rank has pushed; what a closed store held of the job is given back."""
    groups = len(distributed_c10d._world.pg_names)
    store = new_store()
    if RANK == 0:
        with a_device_that_is_busy():
            store.push(torch.tensor([3]), torch.tensor([2.5]), epoch=0)
            store.push(torch.tensor([4]), torch.tensor([4.5]), epoch=0)
        seen = {
            "scores": store.scores([3, 4]).tolist(),
            "top": store.top(1)[0].tolist(),
            "seen": store.stats().seen,
        }
        with a_device_that_is_busy():
            store.push(torch.tensor([5]), torch.tensor([-1.0]), epoch=0)
        seen["late"] = refusal_of(store.stats)
        seen["rejected"] = store.stats().rejected_pushes
    else:
        store.push([6], [1.0], epoch=0)
        seen = {}
    store.flush()
    store.close()
    store.close()
    seen["groups left"] = len(distributed_c10d._world.pg_names) - groups
    seen["flush after close"] = refusal_of(store.flush)
    again = new_store()
    again.flush()
    dist.destroy_process_group()
    again.close()
    return seen


def lost_rank(folder: Path) -> dict:
    """A rank is gone when the others plan."""
    store = new_store()
    store.plan(0)
    if RANK == 1:
        os._exit(9)
    try:
        store.plan(1)
    except StoreUnavailable as error:
        store.close()  # which waits for nobody, also now
        return {"error": str(error)}
    return {"error": "none"}


def together(folder: Path) -> dict:
    """A store elsewhere: what the ranks do together, goes right or wrong on all of them."""
    store = new_store()
    groups = len(distributed_c10d._world.pg_names)
    (folder / "text.npz").write_text("not a store")
    last = WORLD_SIZE - 1 == RANK
    push_mine(store, 0)
    before = shard_of(store, 1)
    with a_device_that_is_busy():
        store.push(torch.tensor([3]), torch.tensor([float("nan") if last else 1.0]), epoch=0)
    seen = {
        "a push found bad late": refusal_of(store.flush),
        "two calls": refusal_of(store.flush) if last else refusal_of(store.save, folder / "never.npz"),
        "nowhere to save": refusal_of(store.save, folder / "none" / "store.npz"),
        "not a store": refusal_of(store.load, folder / "text.npz"),
        "another dataset": refusal_of(new_store, dataset_size=N + RANK),
        "a bad argument": refusal_of(new_store, dataset_size=0 if last else N),
        "groups left": len(distributed_c10d._world.pg_names) - groups,
        "same plan after it all": shard_of(store, 1) == before,
        "never saved": not (folder / "never.npz").exists(),
        "seen": store.stats().seen,
    }
    dist.barrier()
    push_mine(store, 4)  # on its way when the run begins anew
    store.reset()
    seen["seen after reset"] = store.stats().seen
    dist.barrier()
    push_mine(store, 0)
    seen["same plan anew"] = shard_of(store, 1) == before
    seen["bad frames"] = store.stats().bad_frames
    dist.barrier()
    store.close()
    return seen


def connected_too_early(store: Store) -> dict:
    calls = {"flush": (), "plan": (0,), "reset": (), "save": ("x",), "load": ("x",)}
    seen = {name: refusal_of(getattr(store, name), *arguments) for name, arguments in calls.items()}
    store.close()
    return seen


if __name__ == "__main__":
    scenario, folder = sys.argv[1], Path(sys.argv[2])
    early = new_store() if scenario == "early" else None
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous-{scenario}",
        rank=RANK,
        world_size=WORLD_SIZE,
        timeout=timedelta(seconds=60),
    )
    scenarios = {
        "same_plans": same_plans,
        "refusals": refusals,
        "closing": closing,
        "lost_rank": lost_rank,
        "together": together,
        "early": lambda folder: connected_too_early(early),
    }
    seen = scenarios[scenario](folder)
    (folder / f"{scenario}-{RANK}.json").write_text(json.dumps(seen))
    if scenario == "lost_rank":
        os._exit(0)  # without waiting for the one that is gone
    if dist.is_initialized():
        dist.destroy_process_group()
