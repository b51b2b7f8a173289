"""A curriculum: fewer time steps and smaller images first, in one run that resumes in any phase."""

from __future__ import annotations

import pytest
import torch

from sadp_dist.errors import UsageError
from sadp_dist.snn.compression.operations import synaptic_operations
from sadp_dist.training import parse_config, train
from sadp_dist.training.checkpoint import Checkpoints
from sadp_dist.training.dry_run import dry_run
from sadp_dist.training.extension import extension_in_words
from sadp_dist.training.phases import Phases
from sadp_dist.training.processes import Process
from sadp_dist.training.progress import Progress
from sadp_dist.training.trainer import Trainer
from tests.training.resumed import records, resumes_alike


@pytest.fixture
def raw(recipe, few_digits):
    return recipe(
        name="straight",
        data={**few_digits, "augment": "crop", "padding": 2},
        network={"name": "small_cnn_pooled", "time_steps": 3},
        training={
            **{"epochs": 4, "batch_size": 32, "checkpoint_every": 1, "keep_checkpoints": 30},
            "curriculum": [
                {"until": 0.25, "time_steps": 1, "image_size": 5, "augment_strength": 0},
                {"until": 0.75, "time_steps": 2, "augment_strength": 0.5},
                {},
            ],
        },
        tracking={"trackers": []},
    )


def test_a_run_goes_on_bit_for_bit_from_the_middle_of_any_phase(raw, capsys):
    straight = parse_config(raw)
    train(straight)
    rows = records(straight.run_dir)
    assert [row["time_steps"] for row in rows[:-1]] == [1, 2, 2, 3]
    assert [row["image_size"] for row in rows[:-1]] == [5, 8, 8, 8]
    assert [row["augment_strength"] for row in rows[:-1]] == [0, 0.5, 0.5, 1]
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(", epoch")[0] for line in lines[:2]] == [
        "T = 1, 5 x 5, augmentation x 0",
        "T = 2, 8 x 8, augmentation x 0.5",
    ]
    assert lines[3].startswith("T = 3, 8 x 8, epoch")
    for name in ("e0000-b000001", "e0001-b000000", "e0002-b000001", "e0003-b000001"):
        resumes_alike(raw, name)


def test_epochs_see_their_phase_and_tests_see_the_full_number_of_time_steps(raw, monkeypatch):
    raw["compression"] = {"method": "qat"}
    trainer = Trainer(parse_config(raw), Process(0, 1, torch.device("cpu")))
    seen: list[tuple[bool, int, int]] = []
    network = trainer.learner.network
    network.register_forward_hook(
        lambda module, inputs, logits: seen.append((module.training, len(logits), inputs[0].shape[-1]))
    )
    record: dict = {}
    monkeypatch.setattr(trainer, "save", lambda checkpoints: None)
    evaluate = trainer.evaluate
    monkeypatch.setattr(trainer, "evaluate", lambda: record.update(evaluate()) or record)
    trainer.run(Checkpoints(trainer.config.run_dir), None, Progress("", 0, enabled=False))
    first = [number for number, (training, *_) in enumerate(seen) if training and not seen[number - 1][0]]
    assert [seen[number][1:] for number in first] == [(1, 5), (2, 8), (2, 8), (3, 8)]
    assert {each[1:] for each in seen if not each[0]} == {(3, 8)}
    images = next(iter(trainer.data.test_loader()))[0]
    at = {}
    for time_steps in (1, 3):
        network.time_steps = time_steps
        at[time_steps] = sum(synaptic_operations(network, [trainer.data.normalise(images)]).values())
    assert record["synaptic_operations"] == pytest.approx(at[3], rel=1e-6) != at[1]
    trainer.store.close()


@pytest.mark.parametrize(
    ("curriculum", "expected"),
    [
        ([{"until": 0.5}, {"until": 0.5}], "training.curriculum[1].until=0.5 must be above 0.5"),
        (
            [{"until": 0.5, "time_steps": 1}],
            "training.curriculum[0].until=0.5: the last phase ends with the run",
        ),
        ([{"until": 0.5, "time_steps": 4}, {}], "[0].time_steps=4 must be at most network.time_steps=3"),
        ([{"until": 0.5, "image_size": 9}, {}], "[0].image_size=9 must be at most data.image_size=8"),
        ([{"time_steps": 1}], "[0].time_steps=1, but the last phase must have network.time_steps=3"),
        ([{"image_size": 4}], "[0].image_size=4, but the last phase must have data.image_size=8"),
        ([{"augment_strength": 2}], "[0].augment_strength=2 is not a number in [0, 1]"),
        ([{"until": 0.5, "steps": 1}, {}], "unknown key 'steps' in section training.curriculum[0]"),
        ([{"until": 0, "time_steps": 1}, {}], "training.curriculum[0].until=0 is not a number in (0, 1]"),
        ({"until": 1}, "training.curriculum={'until': 1} is not a list of sections with the keys until"),
        ([0.5], "training.curriculum[0]=0.5 is not a section; give keys of its own, such as until"),
    ],
)
def test_a_mistake_in_a_phase_is_one_line(raw, curriculum, expected):
    raw["training"]["curriculum"] = curriculum
    with pytest.raises(UsageError) as refused:
        parse_config(raw)
    assert expected in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"network": {"neuron": {"kind": "psn"}}}, "these neurons have weights for 4"),
        ({"network": {"name": "t_revsnn_small"}}, "the network has weights for 4 time steps"),
        (
            {"learning": {"rule": "tbptt", "steps": 2}, "training": {"loss": "tet"}},
            "learning.steps=2 does not divide it",
        ),
    ],
)
def test_what_cannot_have_fewer_time_steps_is_refused_with_the_reason(recipe, few_digits, sections, reason):
    sections["network"] = {"time_steps": 4, **sections.get("network", {})}
    curriculum = [{"until": 0.5, "time_steps": 3}, {}]
    raw = recipe(data={**few_digits, "image_size": 8}, **sections)
    raw["training"] |= {"curriculum": curriculum}
    with pytest.raises(UsageError, match=f"time_steps=3 is not possible here: .*{reason}"):
        Trainer(parse_config(raw), Process(0, 1, torch.device("cpu")))


def test_a_network_for_one_image_size_is_refused_with_the_reason(raw):
    raw["network"]["name"] = "small_cnn"
    raw["data"] = {**raw["data"], "image_size": 16}
    with pytest.raises(UsageError, match="image_size=5 is not possible here: .* images of 16 x 16 .*pooled"):
        Trainer(parse_config(raw), Process(0, 1, torch.device("cpu")))


def test_a_strength_of_no_augmentation_is_refused(raw):
    raw["data"] = {key: value for key, value in raw["data"].items() if key not in ("augment", "padding")}
    with pytest.raises(
        UsageError, match=r"curriculum\[0\].augment_strength=0 has no effect with data.augment"
    ):
        parse_config(raw)


@pytest.mark.parametrize("loader", ["torch", "ffcv"])
def test_loaders_that_crop_decode_at_the_size_of_the_phase(recipe, loader):
    curriculum = [{"until": 0.5, "image_size": 4, "augment_strength": 0}, {}]
    raw = recipe(
        loader,
        data={"augment": "resized-crop", "image_size": 6, "flip": False},
        network={"name": "small_cnn_pooled"},
        training={"epochs": 2, "curriculum": curriculum},
    )
    raw["pruning"] = {"method": "full"}
    trainer = Trainer(parse_config(raw), Process(0, 1, torch.device("cpu")))
    sizes = []
    for trainer.epoch in (0, 1):
        trainer.begin_epoch()
        sizes.append(next(iter(trainer.loader))[0].shape[-1])
    trainer.store.close()
    assert sizes == [4, 6]


def test_a_phase_has_its_fraction_of_the_epochs_and_the_last_one_at_least_one(raw):
    def ends(epochs, **pruning):
        training = {**raw["training"], "epochs": epochs}
        config = parse_config({**raw, "training": training, "pruning": {"method": "full", **pruning}})
        return [(phase.end, phase.time_steps) for phase in Phases.of(config).all]

    assert ends(20) == [(5, 1), (15, 2), (20, 3)]
    assert ends(2) == [(1, 2), (2, 3)]
    assert ends(1) == [(1, 3)]
    assert ends(20, method="reduced-epoch", ratio=0.6) == [(2, 1), (6, 2), (8, 3)]
    tracked = {"method": "forgetting", "tracking_epochs": 3}
    assert ends(4, **tracked) == [(3, 3), (4, 1), (6, 2), (7, 3)]


def test_an_extension_says_in_which_phase_the_run_is_then(raw):
    config = parse_config({**raw, "training": {**raw["training"], "epochs": 8}})
    assert extension_in_words(config, 4, 4).endswith(
        "the curriculum has T = 2, 8 x 8, augmentation x 0.5 until epoch 6"
    )


def test_a_dry_run_takes_a_step_of_the_last_phase_and_counts_the_time_steps(raw):
    found = dry_run(parse_config({**raw, "pruning": {"method": "full"}}))
    assert found.examples == found.examples_of_full_data
    assert found.time_saved == pytest.approx(1 - (25 / 64 + 2 + 2 + 3) / 12)
