"""Scores are the same under mixed precision, checkpointing, DDP and torch.compile."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from sadp_dist.scoring import SpikeAwareScorer
from tests.scoring.networks import (
    LAYERS,
    SpikingNetwork,
    assert_close,
    batch,
    gradient_norms,
    losses,
    scores_by_definition,
)


@pytest.mark.parametrize("layers", ["last", "all"])
def test_scores_under_bf16(layers: str) -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network, layers)
    with torch.autocast("cpu", torch.bfloat16):
        with scorer:
            (c * losses(network(images), labels)).sum().backward()
        expected = scores_by_definition(network, images, labels, LAYERS if layers == "all" else ("head",))
    assert_close(scorer.scores(c), expected, relative=2e-2)


def test_exact_scores_asked_for_under_autocast_are_not_rounded() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network, exact=True)
    with scorer:
        (c * losses(network(images), labels)).sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        scores = scorer.scores(c)
    assert_close(scores, gradient_norms(network, images, labels, ("head",)))


@pytest.mark.parametrize("exact", [False, True])
def test_scores_under_fp16_do_not_depend_on_the_scale(exact: bool) -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network, exact=exact)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    expected = (gradient_norms if exact else scores_by_definition)(network, images, labels, ("head",))
    for scale in (2.0**10, 2.0**11):
        with scorer, torch.autocast("cpu", torch.float16):
            loss = (c * losses(network(images), labels)).sum()
            scaler.scale(loss).backward()
        assert scaler.get_scale() == scale
        assert_close(scorer.scores(c, grad_scaler=scaler), expected, relative=2e-2)
        scaler.step(optimizer)
        scaler.update()


def test_a_scaled_loss_that_overflows_gives_no_score() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    with scorer, torch.autocast("cpu", torch.float16):
        scaler.scale((c * losses(network(images), labels)).sum()).backward()
    scores = scorer.scores(c, grad_scaler=scaler)
    assert scores.isnan().any() and not scores.isinf().any()


def test_a_loss_that_overflows_without_a_scale_is_not_hidden() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network)
    with scorer:
        (1e38 * losses(network(images), labels)).mul(c).mul(1e38).sum().backward()
    assert not scorer.scores(c, grad_scaler=torch.amp.GradScaler("cpu", enabled=False)).isfinite().any()


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("exact", [False, True])
def test_scores_under_activation_checkpointing(use_reentrant: bool, exact: bool) -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    layers = ("fc", "head") if exact else LAYERS
    scorer = SpikeAwareScorer(network, layers, exact=exact)
    with scorer:
        logits = checkpoint(network, images.requires_grad_(), use_reentrant=use_reentrant)
        (c * losses(logits, labels)).sum().backward()
    expected = (gradient_norms if exact else scores_by_definition)(network, images.detach(), labels, layers)
    assert_close(scorer.scores(c), expected)


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["last", "all"])
def test_scores_of_a_compiled_network(layers: str) -> None:
    torch.compiler.reset()
    network = SpikingNetwork()
    scorer = SpikeAwareScorer(network, layers)
    compiled = torch.compile(network, backend="aot_eager")
    for seed in (1, 2):
        images, labels, c = batch(seed=seed)
        with scorer:
            (c * losses(compiled(images), labels)).sum().backward()
        with torch.no_grad():
            compiled(images)
        losses(compiled(images), labels).sum().backward()  # a step of the same shapes, without scores
        names = LAYERS if layers == "all" else ("head",)
        assert_close(scorer.scores(c), scores_by_definition(network, images, labels, names))


@pytest.mark.slow
def test_scores_of_a_network_compiled_by_inductor() -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3), nn.Tanh())
    compiled = torch.compile(network)
    scorer = SpikeAwareScorer(compiled, "all")
    assert scorer.layers == ("0", "2")
    x, c = torch.rand(5, 6), torch.rand(5) + 0.1
    with scorer:
        (c * compiled(x).sum(1)).sum().backward()
    scores = scorer.scores(c)
    with scorer:
        (c * network(x).sum(1)).sum().backward()
    assert_close(scores, scorer.scores(c))


def test_outside_the_with_a_compiled_network_stays_one_graph() -> None:
    torch.compiler.reset()
    network = nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3))
    scorer = SpikeAwareScorer(network, "all")
    torch.compile(network, backend="eager", fullgraph=True)(torch.rand(5, 6))
    assert scorer.layers == ("0", "2")


def test_a_network_compiled_before_the_scorer_was_made_is_no_wrong_score() -> None:
    torch.compiler.reset()
    network = nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3))
    compiled = torch.compile(network, backend="eager")
    x = torch.rand(5, 6)
    compiled(x)
    scorer = SpikeAwareScorer(network)
    with scorer:
        compiled(x).sum().backward()
    with pytest.raises(ValueError, match="create the scorer before the model's first call"):
        scorer.scores(torch.ones(5))


def score_on_rank(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)
    images, labels, c = (whole[rank::2] for whole in batch(size=8))
    network = SpikingNetwork()
    parallel = DistributedDataParallel(network)
    found = {}
    for layers in ("last", "all"):
        scorer = SpikeAwareScorer(parallel, layers)
        with scorer:
            (c * losses(parallel(images), labels)).sum().backward()
        found[layers] = scorer.scores(c)
    found["gradient"] = network.conv1.weight.grad
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_each_of_two_ranks_has_the_scores_of_its_examples(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(score_on_rank, (tmp_path,), nprocs=2, start_method="forkserver")
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert torch.equal(ranks[0]["gradient"], ranks[1]["gradient"]), "the ranks did not train together"
    images, labels, _ = batch(size=8)
    for layers, names in {"last": ("head",), "all": LAYERS}.items():
        expected = scores_by_definition(SpikingNetwork(), images, labels, names)
        for rank in range(2):
            assert_close(ranks[rank][layers], expected[rank::2])


def test_a_copied_or_pickled_model_is_not_scored() -> None:
    network, (images, labels, c) = SpikingNetwork(), batch()
    scorer = SpikeAwareScorer(network)
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    copies = copy.deepcopy(network), torch.load(file, weights_only=False)
    with scorer:
        for copied in copies:
            losses(copied(images), labels).sum().backward()
        (c * losses(network(images), labels)).sum().backward()
    assert_close(scorer.scores(c), scores_by_definition(network, images, labels, ("head",)))
