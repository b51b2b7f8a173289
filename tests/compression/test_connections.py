"""Sparse structures: how they begin, how they are rewired, and that what is out stays 0."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sadp_dist.errors import UsageError
from sadp_dist.snn import build_network
from sadp_dist.snn.compression import Compression, CompressionConfig, build_compression
from sadp_dist.snn.compression.erdos_renyi import connection_probabilities, draw_connections
from sadp_dist.snn.compression.sparse_structure import rewire
from sadp_dist.snn.layers import weighted_layers

SHAPES = st.lists(
    st.tuples(st.integers(1, 64), st.integers(1, 64), st.integers(1, 3), st.integers(1, 3)),
    min_size=1,
    max_size=6,
)


@given(SHAPES, st.floats(0.01, 1))
def test_one_epsilon_gives_the_density(shapes: list[tuple[int, ...]], density: float) -> None:
    chances = connection_probabilities(shapes, density)
    sizes = [torch.Size(shape).numel() for shape in shapes]
    expected = sum(p * size for p, size in zip(chances, sizes, strict=True))
    assert expected == pytest.approx(density * sum(sizes))
    epsilons = [p * n * m / (n + m) for p, (n, m, *_) in zip(chances, shapes, strict=True) if p < 1]
    assert epsilons == pytest.approx(epsilons[:1] * len(epsilons)), "Eq. 1 with one ε for all layers below 1"
    assert all(0 <= p <= 1 for p in chances)


def test_connections_are_drawn_by_seed_and_layer_alone() -> None:
    first = draw_connections((40, 50), 0.3, seed=1, layer=0)
    assert torch.equal(first, draw_connections((40, 50), 0.3, seed=1, layer=0))
    assert not torch.equal(first, draw_connections((40, 50), 0.3, seed=1, layer=1))
    assert not torch.equal(first, draw_connections((40, 50), 0.3, seed=2, layer=0))
    assert abs(first.float().mean() - 0.3) < 0.04


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 12), st.data())
def test_rewiring_is_what_a_loop_over_rows_does(
    seed: int, rows: int, columns: int, data: st.DataObject
) -> None:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, columns, generator=generator) < 0.6
    w = torch.randn(rows, columns, generator=generator) * mask
    m = torch.randn(rows, columns, generator=generator)
    counts = st.lists(st.integers(0, columns), min_size=rows, max_size=rows)
    remove, grow = (torch.tensor(data.draw(counts)) for _ in range(2))
    result = rewire(w, mask, m, remove, grow)
    for row in range(rows):
        there = [j for j in range(columns) if mask[row, j]]
        free = [j for j in range(columns) if not mask[row, j]]
        there.sort(key=lambda j: abs(float(w[row, j])))
        gone = there[: min(int(remove[row]), max(len(there) - 1, 0))]
        free.sort(key=lambda j: -abs(float(m[row, j])))
        gone.sort(key=lambda j: -abs(float(m[row, j])))
        expected = set(there) - set(gone) | set([*free, *gone][: int(grow[row])])
        assert {j for j in range(columns) if result[row, j]} == expected


REWIRED_EVERY_EPOCH = {
    "sparse-structure": CompressionConfig(method="sparse-structure", every=1, until=1.0),  # type: ignore[call-arg]
    "activity-pruning": CompressionConfig(method="activity-pruning", until=1.0),  # type: ignore[call-arg]
}


def small_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_network("small_cnn", 4, image_size=8, channels=1, time_steps=2)


def batch(seed: int = 0, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(size, 1, 8, 8, generator=generator), torch.randint(4, (size,), generator=generator)


def step(network: nn.Module, optimizer: torch.optim.Optimizer, method: Compression, seed: int) -> None:
    images, labels = batch(seed)
    nn.functional.cross_entropy(network(images).mean(dim=0), labels).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    method.after_step(optimizer)


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-3)


def adamw(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)


def sparse(**keys: object) -> CompressionConfig:
    return CompressionConfig(method="sparse-structure", every=1, until=1.0, **keys)  # type: ignore[arg-type]


@pytest.mark.parametrize("build", [sgd, adamw])
@pytest.mark.parametrize("scope", ["layer", "neuron"])
def test_what_is_out_is_exactly_0_after_every_step(build, scope: str) -> None:
    network = small_network()
    method = build_compression(sparse(scope=scope, connectivity=0.2))
    method.attach(network, seed=3)
    optimizer = build(network)
    begun = method.figures()["connectivity"]
    assert begun == pytest.approx(0.5, abs=0.01)
    before = {name: mask.clone() for name, mask in method.state_dict().items()}
    for epoch in range(3):
        for number in range(2):
            step(network, optimizer, method, seed=number)
            for layer, mask in zip(weighted_layers(network).values(), method.buffers(), strict=True):
                assert (layer.weight[~mask] == 0).all()
        method.after_epoch(epoch, 4, optimizer, lambda total: total)
    figures = method.figures()
    assert 0.2 <= figures["connectivity"] < begun - 0.05
    counted = sum(int(mask.sum()) for mask in method.buffers())
    others = sum(p.numel() for name, p in network.named_parameters() if p.dim() == 1)
    assert figures["parameters"] == counted + others
    grown = [(mask & ~before[name]).sum() for name, mask in method.state_dict().items()]
    assert sum(grown) > 0, "nothing grew"


def test_by_the_letter_of_algorithm_1_the_density_stays() -> None:
    network = small_network()
    method = build_compression(sparse(shrink=False))
    method.attach(network, seed=3)
    optimizer = sgd(network)
    begun, before = method.figures(), [mask.clone() for mask in method.buffers()]
    step(network, optimizer, method, seed=0)
    method.after_epoch(0, 3, optimizer, lambda total: total)
    assert method.figures() == begun
    assert not all(torch.equal(a, b) for a, b in zip(before, method.buffers(), strict=True))


def test_connectivity_does_not_fall_below_its_least() -> None:
    network = small_network()
    method = build_compression(sparse(connectivity=0.45, gamma=3.0))
    method.attach(network, seed=3)
    optimizer = sgd(network)
    for epoch in range(3):
        step(network, optimizer, method, seed=0)
        method.after_epoch(epoch, 9, optimizer, lambda total: total)
    assert method.figures()["connectivity"] == pytest.approx(0.45, abs=1e-3)
    assert method.figures()["connectivity"] >= 0.45


def test_nothing_is_rewired_between_times_nor_at_the_end() -> None:
    network = small_network()
    method = build_compression(CompressionConfig(method="sparse-structure", every=2, until=0.5))
    method.attach(network, seed=3)
    optimizer = sgd(network)
    step(network, optimizer, method, seed=0)
    rewired = []
    for epoch in range(8):
        before = [mask.clone() for mask in method.buffers()]
        method.after_epoch(epoch, 8, optimizer, lambda total: total)
        rewired.append(not all(torch.equal(a, b) for a, b in zip(before, method.buffers(), strict=True)))
    assert rewired == [False, True, False, True, False, False, False, False]


@pytest.mark.parametrize("name", ["sparse-structure", "activity-pruning"])
def test_a_run_goes_on_from_its_state(name: str) -> None:
    """Two epochs and two more from the state of the first equal four at a time, masks and weights."""
    config = REWIRED_EVERY_EPOCH[name]

    def made() -> tuple[nn.Module, Compression, torch.optim.Optimizer]:
        network, method = small_network(), build_compression(config)
        method.attach(network, seed=3)
        return network, method, adamw(network)

    def train(network, method, optimizer, epochs) -> None:
        for epoch in epochs:
            step(network, optimizer, method, seed=epoch)
            method.after_epoch(epoch, 5, optimizer, lambda total: total)

    whole, begun = made(), made()
    train(*whole, range(4))
    train(*begun, range(2))
    resumed = made()
    for new, old in zip(resumed, begun, strict=True):
        new.load_state_dict(old.state_dict())
    train(*resumed, range(2, 4))
    for ours, theirs in zip(resumed[:2], whole[:2], strict=True):
        for key, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[key], value), key


@pytest.mark.parametrize("name", ["sparse-structure", "activity-pruning"])
def test_growing_needs_momentum(name: str) -> None:
    network = small_network()
    method = build_compression(REWIRED_EVERY_EPOCH[name])
    method.attach(network, seed=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    step(network, optimizer, method, seed=0)
    with pytest.raises(UsageError, match=r"set training\.momentum above 0"):
        method.after_epoch(0, 4, optimizer, lambda total: total)


def masks_on_rank(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)

    def add_up(values: torch.Tensor) -> torch.Tensor:
        torch.distributed.all_reduce(values)
        return values

    found = {}
    for name, config in {"qat": CompressionConfig(method="qat"), **REWIRED_EVERY_EPOCH}.items():
        network, method = small_network(), build_compression(config)
        method.attach(network, seed=3)
        optimizer = sgd(network)
        parallel = DistributedDataParallel(network)
        for epoch in range(2):
            step(parallel, optimizer, method, seed=2 * epoch + rank)  # other images on each rank
            method.after_epoch(epoch, 4, optimizer, add_up)
        found[name] = {**method.state_dict(), **dict(network.named_parameters())}
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_have_the_same_masks_and_weights(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(masks_on_rank, (tmp_path,), nprocs=2, start_method="forkserver")
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name, state in ranks[0].items():
        masks = [value for key, value in state.items() if key.startswith("mask")]
        assert name == "qat" or not all(mask.all() for mask in masks)
        for key, value in state.items():
            assert torch.equal(value, ranks[1][name][key]), (name, key)
