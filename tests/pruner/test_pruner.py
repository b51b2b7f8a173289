"""`Pruner`: the run that its parts make by hand, whatever the loop around it does, or a refusal."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import sadp_dist
from sadp_dist import Pruner, PruningConfig
from sadp_dist.errors import UsageError

N, EPOCHS, BATCH = 64, 3, 10
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
DATASET = TensorDataset(X, Y)
OPTIONS = {"ratio": 0.5, "epochs": EPOCHS}


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


def losses_of(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(model(x), y, reduction="none")


class Run:
    """A run of the pruner, batch by batch.

    Args:
        rate: of SGD; 0 leaves the network as it is, so that scores do not depend on their order.
    """

    def __init__(self, rate: float = 0.1, **options: object) -> None:
        self.model = network()
        self.optimizer = torch.optim.SGD(self.model.parameters(), rate)
        self.pruner = Pruner(self.model, DATASET, **{**OPTIONS, **options})
        self.loader = self.pruner.loader(batch_size=BATCH)
        self.batches = self._batches()

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in self.pruner.epochs():
            yield from self.loader

    def train(self, backward: Callable[[Tensor], None] = Tensor.backward) -> Run:
        for x, y in self.batches:
            with self.pruner.step():
                backward(self.pruner.mean(losses_of(self.model, x, y)))
            self.optimizer.step()
            self.optimizer.zero_grad()
        return self

    @property
    def scores(self) -> np.ndarray:
        return self.pruner.store.scores(np.arange(N))


def by_hand(rate: float = 0.1) -> tuple[nn.Module, sadp_dist.store.Store]:
    """The same run, made of the parts."""
    model, pruning = network(), PruningConfig(method="sadp-plus", **OPTIONS)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    store = sadp_dist.connect("memory:", run="by hand", dataset_size=N, pruning=pruning)
    sampler = sadp_dist.loading.PruningSampler(store, BATCH)
    loader = DataLoader(TensorDataset(X, Y, torch.arange(N)), batch_sampler=sampler.batch_sampler)
    scorer = sadp_dist.scoring.SpikeAwareScorer(model)
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for x, y, index in loader:
            weights = sampler.weights(index)
            with scorer:
                sadp_dist.weighted_mean(losses_of(model, x, y), weights).backward()
            store.push(index, scorer.scores(weights / len(index)), epoch=epoch, valid=weights > 0)
            optimizer.step()
            optimizer.zero_grad()
    return model, store


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_run_is_bit_for_bit_the_one_by_hand():
    run = Run().train()
    model, store = by_hand()
    assert same_weights(run.model, model)
    assert run.pruner.store.history() == store.history()
    np.testing.assert_array_equal(run.scores, store.scores(np.arange(N)))


# Data


class Words(Dataset):
    """Sentences of different lengths, which only a collate function of its own makes a batch of."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"words": torch.full((index % 5 + 1,), index), "name": f"sentence {index}"}


def pad(examples: list[dict]) -> dict[str, object]:
    words = nn.utils.rnn.pad_sequence([each["words"] for each in examples])
    return {"words": words, "names": [each["name"] for each in examples]}


DATASETS = {
    "tensors": (DATASET, {}),
    "numbers": (list(range(N)), {}),
    "a subset": (Subset(DATASET, range(3, 60)), {}),
    "two datasets": (ConcatDataset([DATASET, DATASET]), {}),
    "a collate function": (Words(), {"collate_fn": pad}),
    "workers": (Words(), {"collate_fn": pad, "num_workers": 2, "persistent_workers": True}),
}


@pytest.mark.parametrize("name", DATASETS)
def test_the_loader_hands_out_what_a_data_loader_would(name):
    dataset, options = DATASETS[name]
    pruner = Pruner(network(), dataset, method="random", ratio=0.5, epochs=2)
    loader = pruner.loader(BATCH, **options)
    assert loader.dataset is dataset
    for _ in pruner.epochs():
        indices = pruner.sampler.indices.tolist()
        chunks = list(pruner.sampler.batch_sampler)
        assert list(chain(*chunks)) == indices and min(map(len, chunks)) >= 7
        plain = list(DataLoader(dataset, batch_sampler=chunks, collate_fn=options.get("collate_fn")))
        ours = list(loader)
        assert len(ours) == len(loader) == len(plain) > 1
        for our_batch, plain_batch in zip(ours, plain, strict=True):
            assert type(our_batch) is type(plain_batch)
            assert repr(our_batch) == repr(plain_batch)
        pruner.sampler.mark_trained(torch.tensor(indices))


REFUSED_OPTIONS = {
    "sampler": [0],
    "batch_sampler": [[0]],
    "shuffle": True,
    "drop_last": True,
    "in_order": False,
}


@pytest.mark.parametrize("name", REFUSED_OPTIONS)
def test_an_argument_that_chooses_examples_is_refused_in_one_line(name):
    with pytest.raises(UsageError, match=f"^{name}=.*leave (it|{name}) out[^\n]*$"):
        Pruner(network(), DATASET, **OPTIONS).loader(BATCH, **{name: REFUSED_OPTIONS[name]})


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[int]:
        return iter(range(N))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dataset": Stream()}, "dataset: Stream is not map-style"),
        ({"ratio": 0.5}, "epochs: give the number of epochs"),
        (
            {"pruning": PruningConfig(), "ratio": 0.5},
            "ratio: give pruning options in the PruningConfig or as",
        ),
        ({"epochs": 2, "ratoi": 0.5}, "ratoi"),
        ({"epochs": 2, "method": "el2n"}, "Pruner cannot"),
        ({"epochs": 2, "method": "forgetting"}, "Pruner cannot"),
    ],
)
def test_what_cannot_be_pruned_is_refused_in_one_line(arguments, said):
    with pytest.raises(UsageError, match=said) as refusal:
        Pruner(**{"model": network(), "dataset": DATASET, **arguments})
    assert "\n" not in str(refusal.value)


# The loop

SCALER = torch.amp.GradScaler("cpu", init_scale=1024.0)


def with_closure(mean: Tensor) -> None:
    mean.backward(retain_graph=True)
    mean.backward()


BACKWARD = {
    "accumulation": lambda mean: (mean / 4).backward(),
    "a GradScaler": lambda mean: SCALER.scale(mean).backward(),
    "another term": lambda mean: (mean + torch.ones((), requires_grad=True)).backward(),
    "two backward passes": with_closure,
}


@pytest.mark.parametrize("name", BACKWARD)
def test_scores_do_not_depend_on_what_the_loss_is_multiplied_by(name):
    plain, other = Run(rate=0).train(), Run(rate=0).train(BACKWARD[name])
    np.testing.assert_allclose(other.scores, plain.scores, rtol=1e-5)


def test_several_losses_of_a_step_are_scored_together():
    plain, other = Run(rate=0).train(), Run(rate=0)
    for x, y in other.batches:
        with other.pruner.step():
            losses = losses_of(other.model, x, y)
            other.pruner.mean(losses).item()  # to be printed
            ((other.pruner.mean(losses) + 2 * other.pruner.mean(losses)) / 8).backward()
    np.testing.assert_allclose(other.scores, 3 * plain.scores, rtol=1e-5)


def test_autocast_changes_scores_by_its_rounding_only():
    plain, other = Run(rate=0).train(), Run(rate=0)
    for x, y in other.batches:
        with other.pruner.step(), torch.autocast("cpu", torch.bfloat16):
            other.pruner.mean(losses_of(other.model, x, y)).backward()
    np.testing.assert_allclose(other.scores, plain.scores, rtol=0.05)


@pytest.mark.slow
def test_a_compiled_network_and_loss_give_the_same_scores():
    plain, run = Run(rate=0).train(), Run(rate=0)
    compiled = torch.compile(run.model, backend="aot_eager")

    @torch.compile(backend="aot_eager")
    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return run.pruner.mean(losses_of(compiled, x, y))

    for x, y in run.batches:
        with run.pruner.step():
            loss_of(x, y).backward()
    np.testing.assert_allclose(run.scores, plain.scores, rtol=1e-5)


def test_lbfgs_runs_its_closure_several_times_in_a_step():
    run = Run()
    optimizer = torch.optim.LBFGS(run.model.parameters(), 0.1, max_iter=3)
    for x, y in run.batches:

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = run.pruner.mean(losses_of(run.model, x, y))
            loss.backward()
            return loss

        with run.pruner.step():
            optimizer.step(closure)
    assert run.pruner.store.stats().pushed_scores == N // 2 * EPOCHS


def test_a_step_that_overflows_has_no_scores_with_a_grad_scaler_and_is_refused_without():
    run = Run()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    x, y = next(run.batches)
    with run.pruner.step():
        scaler.scale(run.pruner.mean(1e30 * losses_of(run.model, x, y))).backward()
    assert run.pruner.store.stats().seen == 0
    run = Run()
    x, y = next(run.batches)
    with pytest.raises(UsageError, match="nan|inf"), run.pruner.step():
        run.pruner.mean(1e30 * losses_of(run.model, 1e30 * x, y)).backward()


def test_evaluation_pushes_nothing():
    run = Run()
    for x, y in run.batches:
        with run.pruner.step():
            with torch.no_grad():
                run.model(X)
            run.pruner.mean(losses_of(run.model, x, y)).backward()
        losses_of(run.model, X, Y).mean().backward()
        run.optimizer.zero_grad()
    assert run.pruner.store.stats().pushed_scores == N // 2 * EPOCHS


def test_an_error_in_a_step_passes_through_and_the_batch_is_still_to_be_trained_on():
    run = Run()
    x, y = next(run.batches)
    with pytest.raises(ZeroDivisionError), run.pruner.step():
        run.pruner.mean(losses_of(run.model, x, y)).backward()
        raise ZeroDivisionError
    assert run.pruner.store.stats().pushes == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run.pruner.state_dict()["position"]["taken"] == [[1, 0]]
    with run.pruner.step():
        run.pruner.mean(losses_of(run.model, x, y)).backward()
    assert run.pruner.store.stats().pushed_scores == len(x)
    assert run.pruner.state_dict()["position"]["taken"] == [[1, len(x)]]


def in_a_step(body: Callable[[Run, Tensor, Tensor], object]) -> Callable[[Run], None]:
    def loop(run: Run) -> None:
        x, y = next(run.batches)
        with run.pruner.step():
            body(run, x, y)

    return loop


def nested(run: Run, x: Tensor, y: Tensor) -> None:
    with run.pruner.step():
        """Nothing."""


def prefetch(run: Run) -> None:
    next(run.batches)
    in_a_step(lambda run, x, y: None)(run)


def after_the_loop(run: Run) -> None:
    for _ in run.pruner.epochs():
        list(run.loader)
        with run.pruner.step():
            """Nothing."""


REFUSED = {
    "mean() outside of a step": (
        lambda run: run.pruner.mean(torch.ones(BATCH)),
        "call it inside `with pruner.step",
    ),
    "a mean is given": (
        in_a_step(lambda run, x, y: run.pruner.mean(losses_of(run.model, x, y).mean())),
        "one loss per example",
    ),
    "losses of another batch": (
        in_a_step(lambda run, x, y: run.pruner.mean(losses_of(run.model, X, Y))),
        "both need the same shape",
    ),
    "no mean()": (in_a_step(lambda run, x, y: None), r"pruner.mean\(losses\) was not called in this step"),
    "no backward()": (
        in_a_step(lambda run, x, y: run.pruner.mean(losses_of(run.model, x, y))),
        "the mean was not back-propagated",
    ),
    "a step in a step": (in_a_step(nested), "inside another one"),
    "a prefetcher": (prefetch, "2 batches were read since the last step"),
    "a step after the loop": (after_the_loop, "there is no batch"),
    "the loader outside of epochs()": (lambda run: list(run.loader), "inside `for epoch in pruner.epochs"),
    "len() outside of epochs()": (lambda run: len(run.loader), "pruner.total_steps()"),
    "a second loader": (lambda run: run.pruner.loader(BATCH), "has a loader already"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_loop_that_would_be_wrong_is_refused_in_one_line(name):
    mistake, said = REFUSED[name]
    run = Run()
    with pytest.raises(UsageError, match=said) as refusal:
        mistake(run)
    assert "\n" not in str(refusal.value)
    assert run.pruner.store.stats().pushes == 0


def test_a_batch_can_be_skipped_and_the_next_epoch_says_so():
    run = Run()
    next(run.batches)
    run.pruner.skip()
    with pytest.warns(UserWarning, match="epoch=0: this rank trained on 24 of its 32 examples"):
        run.train()


def test_everything_asks_for_the_loader_first():
    pruner = Pruner(network(), DATASET, **OPTIONS)
    for call in (lambda: next(pruner.epochs()), pruner.total_steps, lambda: pruner.step().__enter__()):
        with pytest.raises(UsageError, match=r"call pruner.loader\(batch_size=...\) before"):
            call()


# Rules


def test_a_rule_of_losses_takes_them_and_a_rule_without_scores_none():
    run = Run(rate=0, method="infobatch")
    with contextlib.suppress(StopIteration):
        run.train()
    assert run.pruner.scorer is None
    seen = ~np.isnan(run.scores)
    with torch.no_grad():
        np.testing.assert_allclose(run.scores[seen], losses_of(run.model, X, Y).numpy()[seen], rtol=1e-5)
    assert Run(method="random").train().pruner.store.stats().pushes == 0
    two = Run(method="infobatch")
    with pytest.raises(UsageError, match="with the sum of the losses"):
        two.train(lambda mean: (mean + two.pruner.mean(losses_of(two.model, X[:10], Y[:10]))).backward())


def test_the_configuration_or_the_scorer_may_be_given():
    model = network()
    scorer = sadp_dist.scoring.SpikeAwareScorer(model, layers="all")
    pruner = Pruner(model, DATASET, PruningConfig(ratio=0.25, epochs=2), scorer=scorer)
    assert pruner.pruning.method == "sadp" and pruner.scorer is scorer
    assert Pruner(model, DATASET, epochs=2).pruning.method == "sadp-plus"


# The state


@pytest.mark.parametrize("batches", [1, 3, 4, 6])
def test_a_run_continues_from_the_middle_of_an_epoch(batches):
    whole, first = Run().train(), Run()
    for (x, y), _ in zip(first.batches, range(batches), strict=False):
        with first.pruner.step():
            first.pruner.mean(losses_of(first.model, x, y)).backward()
        first.optimizer.step()
        first.optimizer.zero_grad()
        state = {"pruner": first.pruner.state_dict(), "model": first.model.state_dict()}
        state = torch_saved(state)
    second = Run()
    second.model.load_state_dict(state["model"])
    second.pruner.load_state_dict(state["pruner"])
    assert second.train().pruner.store.history() == whole.pruner.store.history()
    assert same_weights(second.model, whole.model)
    np.testing.assert_array_equal(second.scores, whole.scores)


def torch_saved(state: dict) -> dict:
    import io

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file)


def test_the_state_at_the_end_of_an_epoch_begins_the_next_one_and_may_come_before_the_loader():
    first = Run()
    for epoch in first.pruner.epochs():
        for x, y in first.loader:
            with first.pruner.step():
                first.pruner.mean(losses_of(first.model, x, y)).backward()
            within = first.pruner.state_dict()
        if epoch == 1:
            break
    assert next(resumed(within).epochs()) == 1  # whose body was not at its end
    assert next(resumed(first.pruner.state_dict()).epochs()) == 2
    done = Run().train().pruner.state_dict()
    with pytest.warns(UserWarning, match="all 3 epochs of the run are done"):
        assert list(resumed(done).epochs()) == []
    with pytest.raises(UsageError, match="the state has store; give all ranks"):
        resumed({"store": done["store"]})


def resumed(state: dict) -> Pruner:
    pruner = Pruner(network(), DATASET, **OPTIONS)
    pruner.load_state_dict(state)
    pruner.loader(BATCH)
    return pruner


def test_the_report_says_what_was_saved():
    run = Run()
    assert str(run.pruner.report()) == "no epoch was planned yet"
    report = run.train().pruner.report()
    assert (report.epochs, report.examples, report.full, report.left_out) == (3, 96, 192, 0.5)
    assert report.largest_weight == max(epoch.largest_weight for epoch in run.pruner.store.history())
    assert str(report).startswith("3 epochs: trained on 96 of 192 examples (50.0% left out), largest weight ")
    assert run.pruner.total_steps() == 4 * EPOCHS and run.pruner.total_steps(accumulate=2) == 2 * EPOCHS
