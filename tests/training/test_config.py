"""A configuration is checked whole before anything starts, and a mistake is one line that helps."""

from pathlib import Path

import pytest
import yaml

from sadp_dist.errors import UsageError
from sadp_dist.store import connect
from sadp_dist.training.config import first_difference, load_config, parse_config
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
    with pytest.raises(UsageError, match="pruning.epochs is 5, training.epochs 4"):
        parse_config(raw(pruning={"epochs": 5}))


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"prunning": {}}, r"unknown key 'prunning' at the top level; did you mean 'pruning'\?"),
        ({"pruning": {"ration": 0.5}}, r"unknown key 'ration' in section pruning; did you mean 'ratio'\?"),
        ({"network": {"neuron": {"decey": 1}}}, r"'decey' in section network.neuron; did you mean 'decay'\?"),
        ({"training": {"epochs": 0}}, r"training.epochs is 0: .*greater than or equal to 1"),
        ({"training": {"batch_size": "many"}}, r"training.batch_size is 'many'"),
        ({"training": {"optimizer": "sgdd"}}, r"training.optimizer is 'sgdd': .*'sgd' or 'adamw'"),
        ({"pruning": {"ratio": 0.5, "max_ratio": 0.4}}, r"pruning: .*max_ratio=0.4"),
        ({"pruning": {"ratio": 0.3, "max_ratio": 0.9}}, r"pruning: .*max_ratio=0.9"),
        ({"pruning": {"method": "sapd"}}, r"did you mean \"sadp\""),
        ({"network": {"neuron": {"decay": 1.5}}}, r"network.neuron: decay=1.5 is outside \(0, 1\)"),
        ({"output": "runs/{nme}"}, r"output is 'runs/\{nme\}'; \{name\} is all"),
        ({"network": "small_cnn"}, r"network must be a section with keys of its own, got 'small_cnn'"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_value_and_what_is_allowed(sections, expected):
    with pytest.raises(UsageError, match=expected) as raised:
        parse_config(raw(**sections), source="run.yaml")
    assert str(raised.value).startswith("run.yaml: ")
    assert "\n" not in str(raised.value)


def test_a_missing_key_or_file_or_broken_yaml_is_said(tmp_path):
    with pytest.raises(UsageError, match="data is missing"):
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
    with pytest.raises(UsageError, match=r"page_window=64: only a .beton has pages; loader must be ffcv$"):
        parse_config(raw)
