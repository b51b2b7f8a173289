"""`sadp-dist check`: whether a run can start, as launch scripts ask before they start its ranks."""

from __future__ import annotations

import pytest
import yaml

from sadp_dist.errors import UsageError
from sadp_dist.training import parse_config
from sadp_dist.training.check import check
from tests.cli.test_commands import refused, sadp_dist_command
from tests.mounted import small_disk


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A run over images of two classes."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("images")
    for name in ("a/0.png", "a/1.png", "b/2.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name)
    return {
        "name": "run",
        "output": str(folder.parent / "runs" / "{name}"),
        "data": {"train": str(folder), "test": str(folder), "loader": "torch", "image_size": 8},
        "training": {"epochs": 2, "batch_size": 12},
    }


def test_what_can_start_is_said_and_nothing_is_written(raw, tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(raw))
    before = sorted(tmp_path.rglob("*"))
    done = sadp_dist_command(
        "check", tmp_path / "run.yaml", "seed=1", "--nnodes", "1:2", "--nproc-per-node", 2
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run.yaml'}: run 'run' can start\n"
    assert not parse_config(raw).run_dir.exists()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_too_small_for_the_checkpoints_is_a_warning(raw, tmp_path):
    with small_disk(tmp_path / "disk", 1) as disk:
        (tmp_path / "run.yaml").write_text(yaml.safe_dump({**raw, "output": str(disk / "{name}")}))
        done = sadp_dist_command("check", tmp_path / "run.yaml")
        assert done.returncode == 0 and "can start" in done.stdout
        (line,) = done.stderr.splitlines()
        assert line.startswith("sadp-dist: warning: output=") and "1 MiB are free" in line
        assert "training.keep_checkpoints=2 needs about" in line
    done = sadp_dist_command("check", tmp_path / "run.yaml", f"output={tmp_path}/run")
    assert done.stderr == ""


@pytest.mark.parametrize("nnodes", ["0", "2:1", "1:2:3", "two"])
def test_a_number_of_nodes_is_one_or_a_range(raw, tmp_path, nnodes):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(raw))
    done = sadp_dist_command("check", tmp_path / "run.yaml", "--nnodes", nnodes)
    assert f"--nnodes '{nnodes}' must be a number of nodes, such as 4, or MIN:MAX" in refused(done)


def test_the_batch_divides_among_every_number_of_nodes_that_there_may_be(raw):
    check(parse_config(raw), nodes=range(1, 5))
    with pytest.raises(UsageError, match="training.batch_size=12 must be a multiple of 5"):
        check(parse_config(raw), nodes=range(1, 6))
    with pytest.raises(UsageError, match="must be a multiple of 8: 8 rank"):
        check(parse_config(raw), nodes=range(1, 3), ranks_a_node=4)


def test_data_has_to_be_there(raw):
    missing = parse_config({**raw, "data": {**raw["data"], "test": "nowhere"}})
    with pytest.raises(UsageError, match="data.test='nowhere' does not exist"):
        check(missing)


def test_a_run_that_is_there_is_refused_or_gone_on_with(raw, tmp_path):
    config = parse_config({**raw, "output": str(tmp_path)})
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    with pytest.raises(UsageError, match="already holds a run; add --resume"):
        check(config)
    check(config, "resume")
    check(config, "overwrite")
    other = parse_config({**raw, "output": str(tmp_path), "seed": 1})
    with pytest.raises(UsageError, match="was run with another configuration"):
        check(other, "resume")


def test_the_place_of_the_scores_has_to_answer(raw, tmp_path):
    from tests.store.redis_server import RedisServer

    with RedisServer(tmp_path / "redis") as redis:
        check(parse_config({**raw, "store": {"url": redis.url}}))
        assert not redis.client().keys()
    with pytest.raises(UsageError, match="is not a store"):
        check(parse_config({**raw, "store": {"url": "file:scores"}}))
