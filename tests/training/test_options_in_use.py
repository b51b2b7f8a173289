"""An option that has no effect beside the others is refused, and saved configurations do without it."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest
import torch
import yaml

from sadp_dist.data import DataConfig
from sadp_dist.errors import UsageError
from sadp_dist.sections import OnlyWith, section_in
from sadp_dist.training.config import OptimizationConfig, TrainConfig, parse_config
from sadp_dist.training.config_file import load_config, read_saved
from sadp_dist.training.datasets import TrainingData
from sadp_dist.training.losses import build_loss
from sadp_dist.training.optimizer import build_optimizer

RAW = {"name": "run", "data": {"train": "a", "test": "b"}, "training": {"epochs": 2}}
CHOICES = {"trackers": [[], ["tensorboard"], ["tensorboard", "wandb"], ["mlflow"]]}
GIVEN = {
    "train_split": "train",
    "test_split": "val",
    "page_window": 4,
    "image_column": "photo",
    "label_column": "kind",
    "stratify": "class",
}
"""Values for options whose default means that they are off."""


def dependent_options():
    """Yield (section, option, key, value of the key, whether the option has an effect then)."""
    for section, field in TrainConfig.model_fields.items():
        inner = section_in(field.annotation)
        for option, its in inner.model_fields.items() if inner else ():
            for needs in its.metadata:
                if isinstance(needs, OnlyWith):
                    choices = CHOICES.get(needs.key) or get_args(inner.model_fields[needs.key].annotation)
                    assert set(needs.values) <= {
                        one for c in choices for one in (c if isinstance(c, list) else [c])
                    }
                    for value in choices:
                        yield section, option, needs.key, value, needs.met(value)


def raw(section: str, **keys: Any) -> dict[str, Any]:
    return {**RAW, section: {**RAW.get(section, {}), **keys}}


@pytest.mark.parametrize(("section", "option", "key", "value", "effect"), list(dependent_options()))
def test_an_option_is_accepted_where_it_has_an_effect_and_nowhere_else(
    section, option, key, value, effect, tmp_path
):
    plain = parse_config(raw(section, **{key: value}))
    default = getattr(getattr(plain, section), option)
    given = GIVEN.get(option, default)
    assert (option in plain.to_dict()[section]) == effect
    assert parse_config(yaml.safe_load(yaml.safe_dump(plain.to_dict()))) == plain
    full = raw(section, **{key: value, option: given})
    if effect:
        assert getattr(getattr(parse_config(full), section), option) == given
    else:
        with pytest.raises(
            UsageError, match=f"^run.yaml: {section}.{option}=.* has an effect only with {key}="
        ):
            parse_config(full, source="run.yaml")
    saved = tmp_path / "config.yaml"
    saved.write_text(yaml.safe_dump(full))
    assert (getattr(getattr(read_saved(saved), section), option) == given) or not effect


def test_an_override_drops_the_options_of_the_file_that_lose_their_effect(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(raw("training", optimizer="sgd", momentum=0.8, nesterov=True)))
    assert "momentum" not in load_config(path, ["training.optimizer=adamw"]).to_dict()["training"]
    with pytest.raises(
        UsageError, match='training.momentum=0.5 .* optimizer="sgd", and optimizer is "adamw"'
    ):
        load_config(path, ["training.optimizer=adamw", "training.momentum=0.5"])
    path.write_text(yaml.safe_dump(raw("training", optimizer="adamw", momentum=0.8)))
    with pytest.raises(UsageError, match=r"training.momentum=0.8 .*; remove momentum$"):
        load_config(path, ["training.learning_rate=0.01"])


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(UsageError, match="training.nesterov=true needs momentum above 0"):
        parse_config(raw("training", nesterov=True, momentum=0))


class Reads:
    """A section that records which of its keys are read."""

    def __init__(self, section: Any) -> None:
        self.section, self.keys = section, set()

    def __getattr__(self, key: str) -> Any:
        self.keys.add(key)
        return getattr(self.section, key)


def read_by_optimizer(config: Any) -> None:
    build_optimizer([torch.nn.Parameter(torch.zeros(1))], config)


def read_by_augmentation(config: Any) -> None:
    images, index = torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
    data = TrainingData(config, index.numpy(), 1, (3, 8, 8), 0, torch.device("cpu"), None, None)  # type: ignore[arg-type]
    data.augment(images, index, 0)


@pytest.mark.parametrize(
    ("section", "required", "key", "use"),
    [
        (OptimizationConfig, {"epochs": 1}, "optimizer", read_by_optimizer),
        (OptimizationConfig, {"epochs": 1}, "loss", build_loss),
        (DataConfig, {"train": "a", "test": "b"}, "augment", read_by_augmentation),
    ],
)
def test_an_option_that_is_not_read_is_refused(section, required, key, use):
    choices = get_args(section.model_fields[key].annotation)
    read = {}
    for choice in choices:
        config = Reads(section(**required, **{key: choice}))
        use(config)
        read[choice] = config.keys
    for choice, option in product(choices, set().union(*read.values()) - {key}):
        keys = {**required, key: choice, option: section.model_fields[option].default}
        if option in read[choice] or keys[option] is None:
            section(**keys)
        else:
            with pytest.raises(UsageError, match=f"^{option}=.* has an effect only with {key}="):
                section(**keys)
