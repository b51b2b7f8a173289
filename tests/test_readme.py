"""The README shows the example as it is, and the example works."""

import difflib
import re
from pathlib import Path

import pytest

from tests.forked import run_forked

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_of(example: str) -> str:
    """An example without its docstring."""
    return (ROOT / "examples" / example).read_text(encoding="utf-8").split('"""\n', 1)[1].strip()


def test_the_readme_shows_the_pruned_example_whole():
    assert re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1).strip() == code_of("pruned.py")


def test_at_most_six_lines_put_pruning_into_a_script():
    plain, pruned = (code_of(example).splitlines() for example in ("plain.py", "pruned.py"))
    difference = list(difflib.ndiff(plain, pruned))
    assert 0 < sum(line.startswith("+ ") for line in difference) <= 6
    assert sum(line.startswith("- ") for line in difference) <= 6


@pytest.mark.slow
def test_both_scripts_run_and_the_pruned_one_learns_from_half_of_the_examples():
    accuracy, trained_on = {}, {}
    for example in ("plain.py", "pruned.py"):
        done = run_forked([ROOT / "examples" / example], timeout=280)
        assert done.returncode == 0, done.stderr
        epochs = re.findall(r"trained on (\d+), test accuracy ([\d.]+)%", done.stdout)
        assert len(epochs) == 10
        trained_on[example] = sum(int(count) for count, _ in epochs)
        accuracy[example] = float(epochs[-1][1])
    assert trained_on["plain.py"] == 14_000
    assert trained_on["pruned.py"] == 7_000
    assert accuracy["pruned.py"] > 90


def test_every_file_that_the_documents_link_to_is_there():
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
