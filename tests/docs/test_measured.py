"""Every figure in the pages has a source, and agrees with it."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

GENERATE = Path(__file__).parents[2] / "docs" / "generate"
sys.path.insert(0, str(GENERATE))
import hook  # noqa: E402
import measured  # noqa: E402

SADP = "figure: results/table3.json > Table III: test accuracy > SADP > 50% > .2f"
EPOCH = "figure: benchmarks/epoch_time.json > Time of an epoch of CIFAR-10, 1 process > 0.5 > epoch, s > .1f"


@pytest.mark.parametrize("page", measured.pages(), ids=lambda page: page.name)
def test_a_page_has_no_figure_without_a_source(page):
    assert list(measured.complaints(page.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("It takes 3.5 ms.", "3.5 ms has no source"),
        ("It reached 46.23 %.", "46.23 % has no source"),
        ("SADP correlates at 0.96, the loss less.", "0.96 has no source"),
        ("Two of them:\n\n| what | time |\n| --- | --- |\n| a plan | 12 s |", "12 s has no source"),
        (f"It reached <!-- {SADP} -->46.24 %.", "46.24 should be 46.23"),
        (f"It\nreached\n<!-- {SADP} -->46.23 %.", "begins a line"),
        (f"It reached <!-- {SADP} -->", "nothing that can be compared"),
        ("It waits.\n\n<!-- settings: 30 s -->", "30 s is declared, but"),
        ("It waits 30 s.\n\n<!-- settings -->\nIt waits 5 s.", "30 s has no source"),
        ("<!-- table: results/demo.json > The demo -->\n| method |\n| --- |\n| full |\n", "a table differs"),
    ],
)
def test_what_is_wrong_with_a_figure_is_said(text, complaint):
    (line,) = measured.complaints(text)
    assert complaint in line


@pytest.mark.parametrize(
    "text",
    [
        "It has r = 0.5, 5,000 images and `timeout: 30 s`.",
        "It prints\n\n```text\n3.5 ms\n```\n\nand\n\n    sadp-dist train 0.7\n",
        f"It reached <!-- {SADP} -->46.23 %.",
        "It waits 30\ns, at most.\n\n<!-- settings: 30 s -->",
        "<!-- from papers -->\n| r | accuracy |\n| --- | --- |\n| half | 94.82 % |",
        f"An epoch takes <!-- {EPOCH} -->{measured.figure(EPOCH.removeprefix('figure: '))} s.",
    ],
)
def test_a_figure_with_a_source_or_a_declaration_is_fine(text):
    assert list(measured.complaints(text)) == []


def test_a_source_that_does_not_exist_or_is_ambiguous_is_refused():
    with pytest.raises(LookupError, match="has 0 values for Table III: test accuracy > SADPP > 50%"):
        measured.figure("results/table3.json > Table III: test accuracy > SADPP > 50% > .2f")
    with pytest.raises(LookupError, match="has 2 values for Table III"):
        measured.figure("results/table3.json > Table III > SADP > 50% > .2f")


def test_new_values_are_written_into_a_page():
    text = f"It reached <!-- {SADP} -->1.0 %.\n\n<!-- table: results/demo.json > The demo -->\n| old |\n"
    written = measured.written_anew(text)
    assert list(measured.complaints(written + "\n<!-- examples: 1 % -->")) == [
        "1 % is declared, but the page does not have it"
    ]
    assert "46.23 %" in written and "| method |" in written


def test_the_site_shows_neither_sources_nor_declarations_but_in_code():
    code = f"```markdown\nIt reached <!-- {SADP} -->46.23 %.\n```\n"
    page = f"At <!-- {SADP} -->46.23 %.\n\n{code}\n<!-- settings -->\nIt waits 5 s.\n\n<!-- facts: 8 s -->"
    assert measured.without_marks(page) == f"At 46.23 %.\n\n{code}\nIt waits 5 s.\n\n"


def test_the_build_fails_on_a_figure_without_a_source(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("It takes 3.5 ms.", encoding="utf-8")
    monkeypatch.setattr(measured, "pages", lambda: [page])
    monkeypatch.setattr(measured, "ROOT", tmp_path)
    monkeypatch.setattr(hook, "ROOT", tmp_path)
    with pytest.raises(hook.PluginError, match=r"page.md: 3.5 ms has no source"):
        hook.on_files(SimpleNamespace(), SimpleNamespace())
