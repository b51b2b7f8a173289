"""YAML that would become a deep or an endless structure is refused in one line, wherever it is read."""

import pytest
import yaml

from sadp_dist.errors import UsageError
from sadp_dist.report.run_record import read_run
from sadp_dist.training.config_file import load_config
from sadp_dist.training.safe_yaml import MAX_NODES, safe_yaml
from tests.forked import run_forked

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
TEXTS = {
    "nested": ("a: " + "[" * 20_000 + "]" * 20_000, "it is nested too deeply"),
    "nested in blocks": ("\n".join(f"{' ' * k}a:" for k in range(2_000)), "it is nested too deeply"),
    "bomb": (BOMB, f"its aliases .* stand for more than {MAX_NODES:,} values"),
    "loop": ("a: &a [*a]", "an alias .* stands for what it is in"),
    "no date": ("a: 2026-13-45", "month must be in 1..12"),
}


@pytest.mark.parametrize("what", TEXTS)
def test_it_is_one_line(tmp_path, what):
    text, reason = TEXTS[what]
    path = tmp_path / "config.yaml"
    path.write_text(text)
    (tmp_path / "metrics.jsonl").write_text("")
    for read in (lambda: load_config(path), lambda: read_run(tmp_path)):
        with pytest.raises(UsageError, match=reason) as raised:
            read()
        assert "\n" not in str(raised.value) and len(str(raised.value)) < 1000


def test_the_command_says_it_in_one_line(tmp_path):
    (tmp_path / "bomb.yaml").write_text(BOMB)
    (tmp_path / "fine.yaml").write_text("name: x")
    for words in (["bomb.yaml"], ["fine.yaml", "data.train=" + "[" * 20_000]):
        done = run_forked(["-m", "sadp_dist", "check", *words], cwd=tmp_path)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr[-500:]


def test_aliases_within_reason_are_read():
    text = "a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]"
    assert (
        safe_yaml(text) == yaml.safe_load(text) == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}] * 2}
    )
