"""`imports:` loads the user's own modules, so that what they register can be named in a configuration."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from sadp_dist.errors import UsageError
from sadp_dist.imports import import_modules
from sadp_dist.training import load_config, parse_config, read_metrics
from tests.forked import run_ranks

SECTIONS = {
    "name": "run",
    "output": "{name}",
    "data": {"train": ".", "test": ".", "loader": "torch", "dataset": "noise", "examples": 40}
    | {"image_size": 8, "workers": 0},
    "network": {"name": "wide", "width": 8, "time_steps": 2, "neuron": {"kind": "steep", "threshold": 0.5}},
    "learning": {"rule": "damped", "factor": 0.25},
    "compression": {"method": "clipped", "limit": 0.5},
    "pruning": {"method": "by-margin", "ratio": 0.5, "sharpness": 0.25},
    "scoring": {"power": 2},
    "training": {"epochs": 2, "batch_size": 10, "learning_rate": 0.05},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with own_parts.py and run.yaml, which does not import it."""
    shutil.copy(Path(__file__).with_name("own_parts.py"), tmp_path / "own_parts.py")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(SECTIONS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sadp_dist(*words: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    return run_ranks(["-m", "sadp_dist", *words], processes, distributed=processes > 1)


def test_one_of_each_from_a_file_outside_the_package_is_trained_with_resumed_and_exported(folder):
    done = sadp_dist("train", "run.yaml", "--imports", "own_parts", processes=2)
    assert done.returncode == 0, done.stderr
    epochs = [record for record in read_metrics(folder / "run") if record["event"] == "epoch"]
    assert [record["examples"] for record in epochs] == [20, 20]
    assert epochs[-1]["largest_weight_of_all"] <= 0.5
    saved = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    assert saved["imports"] == ["own_parts"]
    assert saved["scoring"] == {"score": "margin", "power": 2.0}

    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    (folder / "run" / "metrics.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    again = sadp_dist("train", "run.yaml", "--resume")  # knows from the directory what to import
    assert again.returncode == 0, again.stderr
    assert json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[-1])["event"] == "end"
    for words in (("report", "run"), ("stats", "--store", "run")):
        assert sadp_dist(*words).returncode == 0
    exported = sadp_dist("export", "run", "network.npz")
    assert exported.returncode == 0, exported.stderr


@pytest.mark.parametrize("words", [("train", "run.yaml", "--dry-run"), ("check", "run.yaml")])
def test_commands_that_read_a_configuration_import_what_it_names(folder, words):
    (folder / "run.yaml").write_text(yaml.safe_dump({"imports": ["own_parts"], **SECTIONS}))
    done = sadp_dist(*words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "imports: cannot import 'broken' \\(no such module in .* or among the installed packages\\)"),
        ("import nothing_here", "cannot import 'broken' \\(ModuleNotFoundError: No module named 'nothing_"),
        ("def", "imports: cannot import 'broken' \\(SyntaxError: .*\\)"),
        ("1 / 0", "imports: cannot import 'broken' \\(ZeroDivisionError: division by zero\\)"),
        (
            "from sadp_dist.scoring import register_score\n@register_score('loss')\ndef mine(outputs): ...",
            "imports: cannot import 'broken' \\(score \"loss\" exists already; choose .*\\)",
        ),
    ],
)
def test_an_import_that_fails_is_one_line_with_the_module_and_the_reason(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    if text is not None:
        (tmp_path / "broken.py").write_text(text)
    with pytest.raises(UsageError, match=said) as refusal:
        import_modules(["broken"])
    assert "\n" not in str(refusal.value)


def test_a_failed_import_ends_the_command_with_status_2(folder):
    done = sadp_dist("train", "run.yaml", "--imports", "no_such_module")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "cannot import 'no_such_module'" in done.stderr


def test_without_the_import_a_name_is_not_known(tmp_path):
    plain = {"data": {"train": "a", "test": "b"}, "name": "run", "training": {"epochs": 1}}
    raw = plain | {"pruning": {"method": "by-hand"}, "scoring": {"power": 2}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(UsageError, match="method='by-hand' is not known"):
        load_config(tmp_path / "run.yaml")
    with pytest.raises(UsageError, match="imports='own_parts' is not a list of strings"):
        parse_config({**plain, "imports": "own_parts"})
