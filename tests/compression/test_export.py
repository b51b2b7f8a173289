"""Networks to files and back: the same logits, and smaller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from sadp_dist.cli.main import app
from sadp_dist.errors import UsageError
from sadp_dist.snn import NeuronConfig, build_network
from sadp_dist.snn.compression import CompressionConfig, build_compression
from sadp_dist.snn.compression.export import export_network, export_unquantised, import_network
from sadp_dist.snn.layers import weighted_layers
from sadp_dist.training import parse_config, train

ARCHITECTURE: dict[str, Any] = {
    "name": "small_cnn",
    "num_classes": 4,
    "image_size": 8,
    "channels": 1,
    "time_steps": 2,
    "neuron": NeuronConfig(threshold=0.3, decay=0.2),
}


def made(method: str, **keys: Any) -> nn.Module:
    """A network that has taken a few steps, so that its norms have seen something."""
    torch.manual_seed(0)
    network = build_network(**ARCHITECTURE)
    compression = build_compression(CompressionConfig(method=method, **keys))
    if compression is not None:
        compression.attach(network, seed=0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(3):
        network(images()).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if compression is not None:
            compression.after_step(optimizer)
    return network.eval()


def images() -> torch.Tensor:
    return torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_a_network_trained_with_quantisation_comes_back_bit_by_bit(bits: int, tmp_path: Path) -> None:
    network = made("qat", bits=bits)
    export_network(network, tmp_path / "n.npz", ARCHITECTURE)
    back = import_network(tmp_path / "n.npz").eval()
    assert torch.equal(back(images()), network(images()))
    assert back(images()).abs().sum() > 0


def test_what_is_in_the_file(tmp_path: Path) -> None:
    network = made("qat", bits=3)
    export_network(network, tmp_path / "n.npz", ARCHITECTURE)
    with np.load(tmp_path / "n.npz") as content:
        names = [name for name in content.files if ":" not in name and name != "network"]
        assert sorted(names) == sorted(build_network(**ARCHITECTURE).state_dict())
        for name in weighted_layers(network):
            assert content[f"{name}.weight"].dtype == np.uint8
            assert content[f"{name}.weight:scale"].size == len(content[f"{name}.weight"])
        assert content["body.1.weight"].max() <= 7
        assert float(content["body.1.weight:zero"]) == 3.5
        assert content["body.2.weight"].dtype == np.float32, "a norm stays as it is"


@pytest.mark.parametrize("method", ["none", "sparse-structure"])
def test_a_network_trained_without_gets_8_bits_and_keeps_its_zeros(method: str, tmp_path: Path) -> None:
    network = made(method)
    export_network(network, tmp_path / "n.npz", ARCHITECTURE)
    back = import_network(tmp_path / "n.npz")
    pairs = zip(weighted_layers(back).values(), weighted_layers(network).values(), strict=True)
    for ours, theirs in pairs:
        step = theirs.weight.abs().amax(dim=tuple(range(1, theirs.weight.dim())), keepdim=True) / 127
        assert ((ours.weight - theirs.weight).abs() <= step * 0.5001).all()
        assert (ours.weight[theirs.weight == 0] == 0).all()


def test_files_are_smaller_the_fewer_bits_and_connections_there_are(tmp_path: Path) -> None:
    sizes = {}
    for name, network in {
        "float": made("none"),
        "8": made("none"),
        "3": made("qat", bits=3),
        "sparse": made("sparse-structure", density=0.3),
    }.items():
        write = export_unquantised if name == "float" else export_network
        write(network, tmp_path / "n.npz", ARCHITECTURE)
        sizes[name] = (tmp_path / "n.npz").stat().st_size
    assert sizes["8"] < 0.3 * sizes["float"]
    assert sizes["3"] < 0.6 * sizes["8"]
    assert sizes["sparse"] < 0.6 * sizes["8"]


def test_what_is_no_exported_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.npz"):
        export_network(made("none"), tmp_path / "n.pt", ARCHITECTURE)
    with pytest.raises(UsageError, match="cannot be written"):
        export_network(made("none"), tmp_path / "nowhere" / "n.npz", ARCHITECTURE)
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name in ("missing.npz", "text.npz", "other.npz"):
        with pytest.raises(UsageError, match=f"{name} is not an exported network"):
            import_network(tmp_path / name)


@pytest.fixture(scope="module")
def run_dir(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on the 355 test digits."""
    data = {name: str(digits) for name in ("train", "test")}
    splits = {"train_split": "test", "test_split": "test"}
    folder = tmp_path_factory.mktemp("run")
    config = parse_config(
        {
            "name": "run",
            "output": str(folder / "{name}"),
            "data": {**data, **splits, "loader": "torch", "workers": 0, "image_size": 8, "classes": 10},
            "network": {"name": "small_cnn", "time_steps": 2},
            "training": {"epochs": 4, "batch_size": 16, "optimizer": "adamw", "learning_rate": 0.005},
            "pruning": {"method": "random", "ratio": 0.3},
            "tracking": {"trackers": []},
        }
    )
    train(config, show=False)
    return config.run_dir


def test_the_command_compares_sizes_and_accuracies(run_dir: Path, tmp_path: Path) -> None:
    """The command that docs/compression.md shows."""
    out = tmp_path / "digits.npz"
    printed = CliRunner().invoke(app, ["export", str(run_dir), str(out), "--json"])
    assert printed.exit_code == 0, printed.output
    found = json.loads(printed.output)
    assert found["trained_so"] is False
    assert found["bytes"] == out.stat().st_size < 0.3 * found["float_bytes"]
    assert found["examples"] == 355
    recorded = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert found["float_accuracy"] == recorded[-1]["test_accuracy"] > 0.5
    assert abs(found["accuracy"] - found["float_accuracy"]) < 0.03

    printed = CliRunner().invoke(app, ["export", str(run_dir), str(out)], env={"COLUMNS": "120"})
    assert f"{found['accuracy']:.2%}" in printed.output
    assert f"{found['bytes']:,}" in printed.output
    assert (
        "trained without quantisation; its weights were quantised to 8 bits after training" in printed.output
    )
    assert "train with compression.method=qat" in printed.output


def test_the_command_refuses_what_is_no_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(tmp_path), str(tmp_path / "n.npz")])
    assert isinstance(done.exception, UsageError)
    assert "holds no run with a checkpoint" in str(done.exception)
