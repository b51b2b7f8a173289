"""`sadp-dist report` over real runs: what is on the page, what it says of runs that lack something."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sadp_dist.errors import UsageError
from sadp_dist.loading import write_beton
from sadp_dist.report import read_run, write_report
from sadp_dist.report.hardest_examples import training_images
from tests.cli.test_commands import refused, sadp_dist_command
from tests.report.conftest import EPOCHS, NASTY, NASTY_CLASS, change_config

VOID = {"meta", "img", "source", "br", "link", "input"}


class Page(HTMLParser):
    """What a browser would make of the page's elements and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == [], "elements that nobody closes"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data

    def all(self, tag):
        return [attributes for found, attributes in self.elements if found == tag]


def page_of(*run_dirs: Path, out: Path, **options: str) -> Page:
    page = write_report([read_run(run_dir) for run_dir in run_dirs], out, **options)
    return Page(page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    """The page of all runs and its folder."""
    out = tmp_path_factory.mktemp("out") / "report"
    return page_of(*runs.values(), out=out), out


def test_every_figure_is_in_the_page_with_a_text_for_who_cannot_see_it(report):
    page, out = report
    images = page.all("img")
    charts = [image for image in images if image["src"].startswith("data:image/svg+xml;base64,")]
    assert len(charts) == len(page.all("source")) == len(page.all("picture")) == 12
    for image in images:
        assert len(image["alt"]) > 5
        kind, _, data = image["src"].partition(";base64,")
        content = base64.b64decode(data, validate=True)
        if kind == "data:image/png":
            assert Image.open(io.BytesIO(content)).size == (8, 8)
        else:
            assert content.startswith(b"<?xml") and b"</svg>" in content
    names = {path.stem for path in out.glob("*.png")}
    assert names == {
        *("accuracy-examples", "accuracy-time", "loss", "ratio", "subset", "variance"),
        *(
            "noise-ratio",
            "effective-sample-size",
            "largest-weight",
            "score-quantiles-2",
            "score-distribution-2",
        ),
        *("classes", "hardest-2"),
    }
    for path in out.glob("*.png"):
        assert np.asarray(Image.open(path).convert("L")).std() > 5, f"{path.name} is empty"


def test_the_page_needs_nothing_beside_it(report):
    page, _ = report
    addresses = [a[name] for _, a in page.elements for name in ("src", "href", "srcset") if name in a]
    assert addresses and all(re.match("data:|#", address) for address in addresses)
    targets = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {address[1:] for address in addresses if address.startswith("#")} <= targets


@pytest.mark.slow
def test_a_browser_shows_all_of_it_on_a_phone_and_a_screen_light_and_dark(report):
    pytest.importorskip("playwright")
    from tests.dashboard.browser import (
        CHROMIUM,
        PHONE,
        WIDE,
        Visitor,
        beyond_the_edge,
        browsing,
        low_contrast,
    )

    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    _, out = report
    with browsing() as browser:
        visitor = Visitor(browser)
        for viewport in (PHONE, WIDE):
            for scheme in ("light", "dark"):
                page = visitor.open((out / "report.html").as_uri(), viewport=viewport, color_scheme=scheme)
                widths = page.evaluate("() => [...document.images].map((image) => image.naturalWidth)")
                assert len(widths) > 11 and all(widths)
                assert beyond_the_edge(page) == []
                assert low_contrast(page) == []
                background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
                assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
        page.get_by_text("Numbers").first.click()
        assert page.locator("details[open] table").first.is_visible()
        visitor.leave()
    assert visitor.problems == []


def test_names_of_runs_and_classes_are_text_in_it(report):
    page, _ = report
    assert not page.all("script") and not page.all("b")
    assert NASTY in page.text
    assert NASTY_CLASS.replace("/", "\N{DIVISION SLASH}") in page.text


def test_seeds_of_one_recipe_are_one_line_with_a_deviation(report, runs):
    page, _ = report
    accuracies = [read_run(runs[place]).last("test_accuracy") for place in ("sadp", "sadp-1")]
    shown = f"{100 * np.mean(accuracies):.2f} ± {100 * np.std(accuracies, ddof=1):.2f} %"
    assert shown in page.text
    assert "0, 1" in page.text
    for label in ("full data", "SADP, r = 0.5", "random pruning, r = 0.5"):
        assert label in page.text


def test_the_numbers_behind_a_figure_are_the_runs_own(report, runs):
    page, _ = report
    for record in read_run(runs["full"]).epochs:
        assert f"{record['total_examples']:,}" in page.text
        assert f"{100 * record['test_accuracy']:.4g} %" in page.text
    store = read_run(runs["sadp"]).store
    indices, _ = store.top(24)
    assert all(f"no. {index}" in page.text for index in indices)
    keep_rates = read_run(runs["sadp"]).classes
    assert len(keep_rates.drawn) == 10


@pytest.fixture(scope="module")
def page_of_lacking(runs, lacking, tmp_path_factory):
    return page_of(*lacking.values(), runs["full"], runs["random"], out=tmp_path_factory.mktemp("out"))


def test_a_run_that_trains_still_is_shown_as_far_as_it_is(page_of_lacking):
    assert f"2 of {EPOCHS} epochs; not finished, last written just now" in page_of_lacking.text
    assert "(2 of 4 finished)" in page_of_lacking.text
    assert "Not every run is finished" in page_of_lacking.text


def test_a_run_without_a_checkpoint_or_an_epoch_says_so(page_of_lacking):
    text = page_of_lacking.text
    assert (
        text.count("There is no readable checkpoint, so the report has no scores and plans of this run.") == 3
    )
    assert text.count("No epoch is finished yet.") == 1
    assert f"0 of {EPOCHS} epochs; not finished" in text


def test_without_pruning_there_are_no_scores_and_it_says_so(page_of_lacking):
    assert "This run uses the full data; it has no subsets and no scores." in page_of_lacking.text
    assert "The method 'random' does not use scores." in page_of_lacking.text


def test_where_the_images_are_gone_the_hardest_are_numbers(page_of_lacking, lacking):
    assert "data.train '/nowhere' does not exist here" in page_of_lacking.text
    indices, scores = read_run(lacking["no images"]).store.top(24)
    for index, score in zip(indices, scores, strict=True):
        assert re.search(rf"{index}\n? *{score:.4g}", page_of_lacking.text)


def test_a_page_of_a_run_with_nothing_to_show_is_a_page(lacking, runs, tmp_path):
    page = page_of(lacking["just begun"], out=tmp_path / "out")
    assert "No epoch is finished yet." in page.text and not page.all("img")


def test_the_images_of_a_beton_are_those_of_the_run(runs, digits, tmp_path):
    run_dir = Path(shutil.copytree(runs["sadp"], tmp_path / "run"))
    write_beton(digits, tmp_path / "train.beton", split="test")
    change_config(run_dir, train=str(tmp_path / "train.beton"), loader="ffcv")
    of_beton, of_folder = training_images(read_run(run_dir)), training_images(read_run(runs["sadp"]))
    assert len(of_beton) == len(of_folder) == 355
    for index in (0, 17, 354):
        assert of_beton[index] == of_folder[index]


def test_the_command_prints_the_table_and_writes_the_page(runs, digits, tmp_path):
    named = ("--images", digits, "--split", "test", "--out", tmp_path / "out")
    done = sadp_dist_command("report", runs["full"], runs["sadp"], *named)
    assert done.returncode == 0, done.stderr
    assert f"wrote {tmp_path / 'out' / 'report.html'}" in done.stdout
    assert re.search(r"sadp, r = 0.5 +[\d.]+%", done.stdout)


def test_as_json_nothing_is_written(runs):
    done = sadp_dist_command("report", runs["full"], runs["sadp"], "--json")
    assert [row["method"] for row in json.loads(done.stdout)] == ["full", "sadp"]
    assert not (runs["full"] / "report").exists()


def test_a_mistake_is_one_line(runs, digits, tmp_path):
    wrong = sadp_dist_command("report", runs["sadp"], "--images", digits, "--split", "train")
    assert "1,442 images, but the run trained on 355" in refused(wrong)
    with pytest.raises(UsageError, match="holds no run"):
        read_run(tmp_path)
    with pytest.raises(UsageError, match="cannot be written"):
        write_report([read_run(runs["full"])], Path("/proc/no"))
    run_dir = Path(shutil.copytree(runs["full"], tmp_path / "full"))
    (run_dir / "config.yaml").write_text("}")
    with pytest.raises(UsageError, match=r"config.yaml cannot be read"):
        read_run(run_dir)
