"""A dry run says what a run will be, takes a step, and leaves nothing behind."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from sadp_dist.cli.dry_run import dry_run_table
from sadp_dist.data.event_frames import Frames
from sadp_dist.data.gliding_tones import GlidingTones
from sadp_dist.data.simulated_event_camera import Filmed
from sadp_dist.errors import UsageError
from sadp_dist.loading import write_arrays
from sadp_dist.reproduce.small_data import FILM_STEPS, SENSOR
from sadp_dist.selection import RULES
from sadp_dist.training import parse_config, read_metrics, train
from sadp_dist.training.config_file import load_config, read_sections
from sadp_dist.training.dry_run import dry_run
from sadp_dist.training.stages import load_stages

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
CHAINS = [path for path in CONFIGS if "stages" in read_sections(path)]
SMALL = ["training.batch_size=2", "training.accumulate=1"]
SMALL += ["store.url=redis://nowhere.invalid:1/0"]  # which is not asked


class Noise:
    """Pictures of noise, ten of each class."""

    name, classes, labels = "noise", [f"class {k}" for k in range(10)], np.arange(100) % 10

    def __getitem__(self, index):
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8), np.uint8)
        return Image.fromarray(pixels), int(self.labels[index])


@pytest.fixture(scope="module")
def own_data(digits, tmp_path_factory):
    """Folders with the data of recipes that name no public dataset, by recipe."""
    folder = tmp_path_factory.mktemp("generated")
    for name, examples in (
        ("sounds", GlidingTones("train", 100)),
        ("seconds", GlidingTones("train", 100, samples=16_000)),
        ("events", Filmed(Noise(), Frames(FILM_STEPS, SENSOR, SENSOR))),
    ):
        (folder / name).mkdir()
        write_arrays(examples, folder / name / "train.beton", workers=1)
        shutil.copy(folder / name / "train.beton", folder / name / "test.beton")
    return {
        "digits": digits,
        "curriculum-mnist": digits,
        "curriculum-cifar10": digits,
        "pays-mnist": digits,
        "pays-cifar10": digits,
        "pays-spoken-digits": folder / "sounds",
        "field-small-digits": digits,
        "field-small-events": folder / "events",
        "field-small-sounds": folder / "sounds",
        "spoken-digits": folder / "seconds",
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in CONFIGS if path not in CHAINS], ids=lambda path: path.stem)
def test_every_recipe_that_ships_can_take_a_step(path, own_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = own_data.get(path.stem)
    data = [] if folder is None else [f"data.{split}={folder / split}.beton" for split in ("train", "test")]
    # The networks are those of ImageNet, and the step is one for a CPU.
    size = []
    if "imagenet" in path.stem:  # a convolution in fp16 takes a CPU ten times as long
        size = ["data.image_size=32", "network.time_steps=1", "training.precision=fp32"]
    if path.stem.endswith(("-mnist", "-cifar10")):
        size = ["data.image_size=8"]
    if path.stem == "pays-spoken-digits":
        size = ["network.time_steps=26"]
    if "meta-spikeformer" in path.stem:
        size[0] = "data.image_size=16"
    if path.stem.startswith("dvs128-gesture-vgg11"):  # whose first layers see 128x128 pixels
        size = ["network.time_steps=2"]
    neuron = (read_sections(path).get("network") or {}).get("neuron") or {}
    backend = ["network.neuron.backend=torch"] if "backend" in neuron else []  # compiling takes minutes
    config = load_config(path, [*SMALL, *size, *data, *backend])
    found = dry_run(config)
    assert found.parameters > 20_000
    assert found.loss is not None and 0 < found.loss < 100
    assert sum(found.subset_sizes) <= found.config.training.epochs * found.dataset_size
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", RULES)
def test_every_rule_is_one_override_of_a_recipe(recipe, few_digits, method, tmp_path):
    """Options of the recipe that have no effect with the rule, such as stratify with rs2, are dropped."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe(data=few_digits)))
    found = dry_run(load_config(tmp_path / "recipe.yaml", [f"pruning.method={method}"]))
    assert type(found.config.pruning.rule) is RULES[method]
    assert found.loss is not None and 0 < found.loss < 100
    assert (found.score is None) == (not RULES[method].needs_scores)
    assert (found.tracking > 0) == (method in ("forgetting", "el2n", "grand"))


@pytest.mark.parametrize("chain", CHAINS, ids=lambda path: path.stem)
def test_the_steps_of_every_chain_are_recipes_that_ship(chain):
    stages = read_sections(chain)["stages"]
    assert {chain.parent / file for file in stages.values()} <= set(CONFIGS) - set(CHAINS)
    assert len(load_stages(chain)) == len(stages) == 2


def test_it_says_what_the_run_then_does(recipe):
    config = parse_config(recipe("torch", training={"accumulate": 2, "epochs": 4}))
    found = dry_run(config)
    assert not config.run_dir.exists()
    assert (found.dataset_size, found.classes, found.shape) == (1442, 10, (3, 8, 8))
    assert found.layers == ("body.8",)
    summary = train(config)
    epochs = [record for record in read_metrics(config.run_dir) if record["event"] == "epoch"]
    assert found.subset_sizes == tuple(record["examples"] for record in epochs)
    assert found.examples == summary["total_examples"]
    assert found.time_saved == pytest.approx(1 - summary["total_examples"] / (4 * 1442))
    assert found.steps_in_all == sum(-(-record["examples"] // 64) for record in epochs)


def test_random_examples_stand_in_for_a_public_dataset_alone(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = {"train": "nowhere/train.beton", "test": "nowhere/test.beton", "loader": "ffcv"}
    missing |= {"train_split": None, "test_split": None}
    with pytest.raises(UsageError, match="nowhere/train.beton.*does not exist"):
        dry_run(parse_config(recipe(data=missing)))
    found = dry_run(
        parse_config(recipe(data={**missing, "dataset": "cifar100", "image_size": 32, "classes": None}))
    )
    assert (found.dataset_size, found.classes) == (50_000, 100)
    assert "cifar100" in found.notes[0]


def test_the_table_names_what_is_scored_and_what_is_saved(recipe):
    from rich.console import Console

    found = dry_run(parse_config(recipe(pruning={"ratio": 0.5, "max_ratio": None})))
    console = Console(record=True, width=120)
    console.print(dry_run_table(found))
    text = console.export_text()
    assert "gradient of 1 layer: body.8" in text
    assert "about 50.0% saved" in text
    assert "721" in text
