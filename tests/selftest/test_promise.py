"""The promise of the self-test trains the paper's recipe."""

from pathlib import Path

from sadp_dist.selftest.promise import METHODS, promise_config
from sadp_dist.training import load_config

RECIPE = Path(__file__).parents[2] / "configs" / "cifar10-resnet18.yaml"
NOT_THE_SAME = ("train", "test", "dataset", "workers")


def test_the_promise_has_the_values_of_the_recipe_but_for_the_number_of_epochs(tmp_path):
    ours = promise_config(tmp_path, "spiking_resnet18", "SADP", epochs=7).to_dict()
    recipe = load_config(RECIPE, ["training.epochs=7"]).to_dict()
    for section in ("network", "training", "pruning", "scoring", "learning", "compression"):
        assert ours[section] == recipe[section]
    for key in set(recipe["data"]) - set(NOT_THE_SAME):
        assert ours["data"][key] == recipe["data"][key], key


def test_sadp_and_fewer_epochs_train_on_as_many_examples(tmp_path):
    sizes = {}
    for method in METHODS:
        rule = promise_config(tmp_path, "small_cnn", method, epochs=20).pruning.rule
        sizes[method] = sum(1 - rule.ratio(epoch) for epoch in range(rule.epochs))
    assert sizes["full data"] == 20
    assert abs(sizes["SADP"] - sizes["fewer epochs"]) < 0.3
