"""What a scorer keeps is norms, whatever the size of what passes by."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from sadp_dist.scoring import SpikeAwareScorer

T, B, FEATURES, DEPTH = 4, 8, 64, 3
NORMS = T * B * 4  # bytes of the norms of one layer's inputs, or of its errors
ACTIVATIONS = NORMS * FEATURES


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.Sigmoid()) for _ in range(DEPTH)))


def held_by(work: Callable[[], object]) -> int:
    """All bytes that were allocated meanwhile less all that were freed, as the allocator saw it."""
    with torch.profiler.profile(profile_memory=True) as profile:
        result = work()
    del result
    return sum(event.self_cpu_memory_usage for event in profile.events())


def held_in_a_step(model: nn.Module, scorer: AbstractContextManager) -> tuple[int, int]:
    """Bytes held before and after the backward of a step in which the weights have gradients already."""
    x = torch.rand(T, B, FEATURES)
    model(x).sum().backward()
    losses: list[Tensor] = []
    with scorer:
        before = held_by(lambda: losses.append(model(x).sum()))
        return before, before + held_by(losses[0].backward)


def test_norms_are_all_that_is_kept_and_scores_drops_them() -> None:
    model = network()
    plain = held_in_a_step(model, nullcontext())
    assert plain[0] > DEPTH * ACTIVATIONS, "the profiler does not see activations"
    scorer = SpikeAwareScorer(model, "all")
    scored = held_in_a_step(model, scorer)
    assert scored[0] - plain[0] == DEPTH * NORMS
    assert scored[1] - plain[1] == DEPTH * 2 * NORMS
    assert held_by(lambda: scorer.scores(torch.ones(B)).sum().item()) == -DEPTH * 2 * NORMS


def test_exact_norms_hold_what_autograd_holds_until_there_are_scores() -> None:
    model = network()
    plain = held_in_a_step(model, nullcontext())
    scorer = SpikeAwareScorer(model, exact=True)
    scored = held_in_a_step(model, scorer)
    assert scored[0] == plain[0]
    assert scored[1] - plain[1] == 2 * ACTIVATIONS
    assert held_by(lambda: scorer.scores(torch.ones(B)).sum().item()) == -2 * ACTIVATIONS
