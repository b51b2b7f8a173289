"""Several runs in one file: each begins where the one before it ended, and the job goes on where it was."""

from pathlib import Path

import pytest
import torch
import yaml

from sadp_dist.errors import UsageError
from sadp_dist.training import read_metrics
from sadp_dist.training.run import train_stages
from sadp_dist.training.stages import load_stages
from tests.training.conftest import newest_state

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def chain(recipe, tmp_path):
    """A file of two runs over the digits, at one time step and at two."""
    for stage, time_steps in (("pretrain", 1), ("finetune", 2)):
        raw = recipe("torch", name=stage, network={"time_steps": time_steps}, training={"epochs": 2})
        (tmp_path / f"{stage}.yaml").write_text(yaml.safe_dump(raw))
    path = tmp_path / "chain.yaml"
    path.write_text(
        yaml.safe_dump({"stages": {s: f"{s}.yaml" for s in ("pretrain", "finetune")}}, sort_keys=False)
    )
    return path


def test_a_stage_begins_with_the_weights_of_the_one_before(chain):
    first, second = load_stages(chain, ["finetune.training.learning_rate=1e-30"])
    assert second.network.weights == str(first.run_dir)
    train_stages([first, second])
    before, after = (newest_state(config.run_dir)["network"] for config in (first, second))
    weights = [name for name in before if name.endswith("weight")]
    assert weights
    for name in weights:  # at such a rate they stay what they were
        torch.testing.assert_close(after[name], before[name])


def test_a_job_that_was_stopped_in_either_stage_goes_on_there(chain):
    stages = load_stages(chain)
    train_stages(stages[:1])
    done = (stages[0].run_dir / "metrics.jsonl").read_bytes()
    with pytest.raises(UsageError, match="already holds a run"):
        train_stages(stages)
    summaries = train_stages(stages, "resume")
    assert (stages[0].run_dir / "metrics.jsonl").read_bytes() == done
    assert [summary["event"] for summary in summaries] == ["end", "end"]
    again = train_stages(stages, "resume")
    assert again == summaries
    metrics = stages[1].run_dir / "metrics.jsonl"
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:-1]))  # as if killed at the end
    assert train_stages(stages, "resume")[1]["test_accuracy"] == summaries[1]["test_accuracy"]
    assert read_metrics(stages[1].run_dir)[-1]["event"] == "end"


def test_overrides_are_for_all_stages_or_for_one():
    path = CONFIGS / "imagenet-sew-resnet34-chain.yaml"
    pretrain, finetune = load_stages(path, ["name=half", "pruning.ratio=0.5", "finetune.training.epochs=5"])
    assert (pretrain.name, finetune.name) == ("half-pretrain", "half-finetune")
    assert (pretrain.pruning.ratio, finetune.pruning.ratio) == (0.5, 0.5)
    assert (pretrain.training.epochs, finetune.training.epochs) == (100, 5)
    assert (pretrain.network.time_steps, finetune.network.time_steps) == (1, 4)
    for config in load_stages(path):
        pruning = config.pruning
        assert (pruning.ratio, pruning.max_ratio, pruning.min_probability) == (0.35, 0.55, 0.25)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages: {a: a.yaml}\nname: run", "stands alone, here beside name"),
        ("stages: [a.yaml]", "must name files"),
        ("stages: {}", "must name files"),
        ("stages: {training: a.yaml}", "cannot be called 'training'"),
        ("stages: {a: nowhere.yaml}", "nowhere.yaml does not exist"),
        ("stages: {a: run.yaml, b: run.yaml}", "two stages have the directory"),
    ],
)
def test_a_file_of_stages_that_is_none_is_refused(text, said, tmp_path, recipe):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(recipe("torch")))
    (tmp_path / "chain.yaml").write_text(text)
    with pytest.raises(UsageError, match=said):
        load_stages(tmp_path / "chain.yaml")
