"""A configuration is checked whole before anything starts, and a mistake is one line that helps."""

from pathlib import Path

import pytest
import yaml

from sadp_dist.errors import UsageError
from sadp_dist.store import connect
from sadp_dist.training.config import parse_config
from sadp_dist.training.config_file import first_difference, load_config, read_saved
from sadp_dist.training.stages import load_stages

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def raw(**sections):
    return {
        "name": "run",
        "data": {"train": "train.beton", "test": "test.beton"},
        "training": {"epochs": 4, **sections.pop("training", {})},
        **sections,
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_that_ships_is_valid_and_survives_being_written_and_read(path):
    for config in load_stages(path):
        assert parse_config(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config


def test_the_resnet18_recipe_has_the_values_of_tables_i_and_ii():
    config = load_config(next(path for path in CONFIGS if path.stem == "cifar10-resnet18"))
    training, neuron, pruning = config.training, config.network.neuron, config.pruning
    assert (training.epochs, training.optimizer, training.learning_rate) == (200, "sgd", 0.2)
    assert (training.batch_size, training.weight_decay) == (128, 5e-5)
    assert (neuron.decay, neuron.threshold, config.network.time_steps) == (0.1, 1.0, 4)
    assert (pruning.ratio, pruning.max_ratio, pruning.min_probability) == (0.5, 0.7, 0.3)
    assert (pruning.scheme, config.scoring.layers) == ("bernoulli", "last")


def test_overrides_replace_values_and_make_sections(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(raw()))
    config = load_config(
        path, ["pruning.ratio=0.7", "network.neuron.decay=0.5", "seed=3", "data.mean=[1, 2, 3]"]
    )
    assert config.pruning.ratio == 0.7
    assert config.network.neuron.decay == 0.5
    assert config.data.mean == (1, 2, 3)
    assert (config.seed, config.pruning.seed) == (3, 3)


def test_the_pruning_schedule_spans_the_epochs_of_training():
    assert parse_config(raw()).pruning.epochs == 4
    with pytest.raises(UsageError, match="pruning.epochs=5 differs from training.epochs=4; remove"):
        parse_config(raw(pruning={"epochs": 5}))


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"prunning": {}}, r"unknown key 'prunning'; did you mean \"pruning\"\?"),
        (
            {"pruning": {"ration": 0.5}},
            r"unknown key 'ration'.*; did you mean \"ratio\"\?",
        ),
        (
            {"network": {"neuron": {"decey": 1}}},
            r"'decey' in section network.neuron; did you mean \"decay\"\?",
        ),
        ({"training": {"epochs": 0}}, r"training.epochs=0 is not an integer of at least 1"),
        ({"training": {"batch_size": "many"}}, r"training.batch_size='many' is not an integer of at least 1"),
        (
            {"training": {"optimizer": "sgdd"}},
            'optimizer=.sgdd. is not one of "sgd", "adamw"; did you mean "sgd"',
        ),
        ({"pruning": {"ratio": 0.5, "max_ratio": 0.4}}, r"pruning.*max_ratio=0.4"),
        ({"pruning": {"ratio": 0.3, "max_ratio": 0.9}}, r"pruning.*max_ratio=0.9"),
        ({"pruning": {"method": "sapd"}}, r"did you mean \"sadp\""),
        ({"network": {"neuron": {"decay": 1.5}}}, r"network.neuron.decay=1.5 is not a number in \(0, 1\)"),
        ({"output": "runs/{nme}"}, r"output='runs/\{nme\}' may refer to \{name\} only"),
        (
            {"network": "small_cnn"},
            "network='small_cnn' is not a section; give keys of its own",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_value_and_what_is_allowed(sections, expected):
    with pytest.raises(UsageError, match=expected) as raised:
        parse_config(raw(**sections), source="run.yaml")
    assert str(raised.value).startswith("run.yaml: ")
    assert "\n" not in str(raised.value)


def test_a_missing_key_or_file_or_broken_yaml_is_said(tmp_path):
    with pytest.raises(UsageError, match="section data is missing; add it"):
        parse_config({"name": "run", "training": {"epochs": 1}})
    with pytest.raises(UsageError, match=r"nowhere\.yaml does not exist"):
        load_config(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [run")
    with pytest.raises(UsageError, match=r"broken\.yaml is not YAML") as raised:
        load_config(broken)
    assert "\n" not in str(raised.value)
    broken.write_text(yaml.safe_dump(raw()))
    with pytest.raises(UsageError, match="must look like section.key=value"):
        load_config(broken, ["pruning.ratio"])
    with pytest.raises(UsageError, match="name is a value, not a section"):
        load_config(broken, ["name.ratio=1"])


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:S3CRET@h:6379/0",
        "redis://S3CRET@h",
        "redis//:S3CRET@h",
        "reddis:u:S3CRET@h",
        "redis:/u:S3/CR3ET?S3CRET#@S3CRET@h",
        "redis://h?password=S3CRET",
    ],
)
def test_no_password_is_shown_whatever_is_wrong_with_the_url_or_its_place(url, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(raw()))
    config = parse_config(raw(store={"url": url}))
    assert config.store.url == url
    for shown in (repr(config), repr(config.store), str(config.to_dict())):
        assert "S3CRET" not in shown
    wrong = [
        {"store": {"url": [url]}},
        {"store": {"planner": url}},
        {"store": {"timeout": url}},
        {"store": {url: 1}},
        {"store": url},
    ]
    calls = [lambda sections=sections: parse_config(raw(**sections)) for sections in wrong]
    calls += [
        lambda: load_config(path, [f"store.url:{url}"]),
        lambda: load_config(path, [f"name.url={url}"]),
        lambda: load_config(path, [f"store.url=[{url}"]),
        lambda: connect(url.replace("redis:", "rediz:", 1), "run", 5, config.pruning),
    ]
    for call in calls:
        with pytest.raises(UsageError) as refusal:
            call()
        assert "S3CRET" not in str(refusal.value)


def test_the_first_difference_between_two_configurations_is_named():
    ours = parse_config(raw()).to_dict()
    assert first_difference(ours, parse_config(raw()).to_dict()) is None
    theirs = parse_config(raw(network={"neuron": {"decay": 0.2}})).to_dict()
    assert first_difference(ours, theirs) == "network.neuron.decay: 0.1 then, 0.2 now"


def test_a_file_read_by_pages_is_dealt_out_by_blocks_unless_the_pruning_says_how():
    raw = {"name": "run", "data": {"train": "a", "test": "b"}, "training": {"epochs": 1}}
    assert parse_config(raw).pruning.shard_block is None
    raw["data"]["page_window"] = 64
    assert parse_config(raw).pruning.shard_block == 16_384
    assert parse_config(raw | {"pruning": {"shard_block": 100}}).pruning.shard_block == 100
    assert parse_config(raw | {"pruning": {"shard_block": None}}).pruning.shard_block is None
    raw["data"]["loader"] = "torch"
    with pytest.raises(UsageError, match='data.page_window=64 has an effect only with loader="ffcv"'):
        parse_config(raw)


def leaves(section, prefix=""):
    """The keys of nested sections by their paths, with their values."""
    for key, value in section.items():
        yield from (
            leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
        )


@pytest.mark.parametrize("path", sorted(Path(__file__).with_name("configs_0_1").glob("*.yaml")))
def test_what_version_0_1_wrote_is_read_without_the_options_of_other_kinds(path, tmp_path):
    saved = yaml.safe_load(path.read_text())
    assert len(saved["compression"]) == 14  # the options of every method
    config = read_saved(path)
    as_published = config.pruning.method == "sadp"  # other methods have no schedule and no floor
    new = {
        "pruning.schedule": "paper" if as_published else "exact",
        "pruning.floor": "absolute" if as_published else "relative",
        "pruning.weight_exponent": 1.0,
        "pruning.least_kept": 0.0,
        "data.channels": 3,
        "data.image_column": None,
        "data.label_column": None,
        "scoring.bias": False,
        "training.curriculum": [],
        "training.checkpoint_minutes": 10.0,
    }
    known = {"imports": [], **new, **dict(leaves(saved))}
    if not as_published:
        known["pruning.min_probability"] = 0.2  # the default, which was 0, and did nothing
    for key, value in leaves(config.to_dict()):
        assert known[key] in (value, None), key
    assert config.scoring.score == config.pruning.rule.score
    assert set(config.compression.to_dict()) < set(saved["compression"])
    saved["pruning"]["ration"] = 0.5
    other = tmp_path / "config.yaml"
    other.write_text(yaml.safe_dump(saved))
    with pytest.raises(UsageError, match="unknown key 'ration'.*this is sadp_dist .*another"):
        read_saved(other)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "override",
    ["pruning.method=full", "pruning.method=repb", "compression.method=qat", "learning.rule=bptt"],
)
def test_an_override_of_a_kind_drops_the_options_of_the_one_in_the_file(path, override):
    key, _, kind = override.partition("=")
    section, name = key.split(".")
    for config in load_stages(path, [override]):
        assert getattr(getattr(config, section), name) == kind


def test_an_option_that_is_typed_beside_another_kind_is_refused():
    path = next(path for path in CONFIGS if path.stem == "cifar10-vgg16-qat")
    assert load_config(path).compression.bits
    assert "bits" not in load_config(path, ["compression.method=none"]).compression.to_dict()
    with pytest.raises(UsageError, match='compression.bits is an option of method="qat"'):
        load_config(path, ["compression.method=none", "compression.bits=4"])
