"""The page in a real browser, beside a real training run in a real Redis.

With SADP_DIST_SCREENSHOTS=docs/images the pictures of docs/dashboard.md are taken, too.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from sadp_dist import PruningConfig, connect
from sadp_dist.store import Store
from tests.dashboard.browser import (
    CHROMIUM,
    PHONE,
    Visitor,
    beyond_the_edge,
    browsing,
    headline,
    low_contrast,
    traces,
)
from tests.dashboard.process import ROOT, TOKEN, Dashboard, train, train_epoch
from tests.dashboard.screenshots import FOLDER, take_screenshots
from tests.forked import Forked, rank_environments
from tests.store.redis_server import RedisServer, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome here"),
]

RUN, N = "digits-pruned", 1442
EPOCHS = 8 if FOLDER is None else 30
HOSTILE = "<b>bold</b><img src=x onerror=window.hacked=1>"
OTHER = "the/other one & ü"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    visitor = Visitor(browser)
    yield visitor
    visitor.leave()
    assert visitor.problems == []


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what training writes."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def watched(server: RedisServer, digits: Path) -> Iterator[Dashboard]:
    """The dashboard of a Redis, before the digits train in it."""
    with Dashboard(server.url, "--images", digits, "--split", "train") as dashboard:
        yield dashboard


@pytest.fixture(scope="module")
def job(watched: Dashboard, server: RedisServer, digits: Path, runs: Path) -> Iterator[list[Forked]]:
    """Two ranks that train the digits from now on."""
    command = [
        *("-m", "sadp_dist", "train", ROOT / "configs/digits.yaml", f"output={runs}/{{name}}"),
        *(f"data.train={digits}", f"data.test={digits}", "data.train_split=train", "data.test_split=test"),
        *("data.loader=torch", "data.workers=0", f"training.epochs={EPOCHS}", f"store.url={server.url}"),
        *("pruning.max_ratio=0.7", "pruning.schedule=paper"),  # so that the subset changes
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with (runs / "job.log").open("wb") as log:
        ranks = [
            Forked(command, env={**environment, **rank}, stdout=log, stderr=log)
            for rank in rank_environments(2)
        ]
    yield ranks
    for rank in ranks:
        rank.terminate()
        rank.wait(240)


@pytest.fixture(scope="module")
def known(job: list[Forked], watched: Dashboard, runs: Path) -> dict[str, Any]:
    """What the API says of the run, once it is over: "stats", "history" and "classes"."""
    assert [rank.wait(240) for rank in job] == [0, 0], (runs / "job.log").read_text()
    found = {what: watched.of(RUN, what).json() for what in ("stats", "history", "classes")}
    assert found["stats"]["epoch"] == EPOCHS - 1
    return found


@pytest.fixture(scope="module")
def page(watched: Dashboard, known: dict[str, Any], browser: Browser) -> Iterator[Page]:
    """The page of the run once it is over, for tests that only look at it. To open it takes seconds."""
    visitor = Visitor(browser)
    yield visitor.open(watched.address, RUN, expected="status of 503")  # one test kills the store
    visitor.leave()
    assert visitor.problems == []


def test_the_page_follows_a_run_while_it_trains(watched, server, visitor, runs, request):
    page = visitor.open(watched.address)
    expect(page.locator("#lead")).to_have_text("This store has no runs.")
    expect(page.locator("#verdict")).to_contain_text(f"store.url={server.url}")
    page.evaluate("window.loaded = 1")
    ranks = request.getfixturevalue("job")
    for least in (1, 4):
        with held_after(least, ranks, runs / RUN) as done:
            expect(page.get_by_role("radio", name=RUN)).to_be_checked()
            trains = re.compile(rf"Epoch ({done + 1}|{done + 2}) of {EPOCHS} trains on ")
            expect(page.locator("#lead")).to_have_text(trains)
    expect(headline(page, "Test accuracy")).to_have_text(re.compile(r"\d+\.\d.%"))
    if FOLDER is not None:
        expect(headline(page, "Epoch")).to_have_text(re.compile(r"1[4-9]|2\d"))
        take_screenshots(visitor, watched.address)
    expect(page.locator("#lead")).to_have_text(f"All {EPOCHS} epochs are done.")
    assert page.evaluate("window.loaded") == 1  # nobody has loaded the page anew


@contextmanager
def held_after(least: int, ranks: list[Forked], run_dir: Path) -> Iterator[int]:
    """Hold the ranks during the block, after at least so many epochs; gives how many are done."""
    metrics = run_dir / "metrics.jsonl"

    def done() -> int:
        return metrics.read_text().count('"event": "epoch"') if metrics.exists() else 0

    until(lambda: done() >= least)
    for rank in ranks:
        rank.send_signal(signal.SIGSTOP)
    yield done()  # a busy machine may have been late to stop them
    for rank in ranks:
        rank.send_signal(signal.SIGCONT)


def test_the_state_is_said_in_words_and_in_figures(known, page):
    stats, history = known["stats"], known["history"]
    expect(page.locator("#lead")).to_have_text(f"All {EPOCHS} epochs are done.")
    left_out = 1 - sum(record["drawn"] for record in history) / (EPOCHS * N)
    best = max(record["training"]["test_accuracy"] for record in history)
    assert 0.4 < left_out < 0.6
    assert best > 0.8
    for words in (f"Pruning has skipped {percent(left_out)} of all examples", percent(best)):
        expect(page.locator("#verdict")).to_contain_text(words)
    expect(page.locator("#warnings li")).to_have_count(0)
    for name, value in {
        "Epoch": f"{EPOCHS}",
        "Test accuracy": percent(history[-1]["training"]["test_accuracy"]),
        "Pruning ratio": percent(stats["ratio"]),
        "Subset": f"{stats['subset_size']:,}",
        "Effective sample size": f"{stats['effective_sample_size']:,.0f}",
        "Examples N": f"{N:,}",
    }.items():
        expect(headline(page, name)).to_have_text(value)


def test_the_curves_are_those_of_the_history(known, page):
    history = known["history"]
    expect(page.locator("#sample-size-chart .main-svg").first).to_be_visible()

    def training(name: str) -> list[float]:
        return [record["training"][name] for record in history]

    for chart, lines in {
        "accuracy": [training("test_accuracy"), training("train_accuracy")],
        "loss": [training("loss"), training("test_loss")],
        "ratio": [[record["ratio"] for record in history]],
        "subset": [[record["drawn"] for record in history]],
        "weight": [[record["largest_weight"] for record in history]],
        "sample-size": [[record["effective_sample_size"] / record["drawn"] for record in history]],
    }.items():
        drawn = traces(page, f"{chart}-chart")
        assert [line["y"] for line in drawn] == lines
        assert [line["x"] for line in drawn] == [list(range(1, EPOCHS + 1))] * len(lines)

    in_words = re.compile(rf"^Pruning ratio over {EPOCHS} epochs.* at first, 70.0.% now")
    expect(page.get_by_role("img", name=in_words)).to_be_visible()
    page.get_by_text("Show as a table").click()
    rows = page.locator("#curves-table tbody tr")
    expect(rows).to_have_count(EPOCHS)
    expect(rows.first.locator("td").first).to_have_text(f"{EPOCHS}")


def test_scores_and_staleness_are_those_of_each_epoch_and_of_now(known, page):
    stats, history = known["stats"], known["history"]
    expect(page.locator("#staleness-chart .main-svg").first).to_be_visible()
    heatmap, medians = traces(page, "scores-chart")
    assert heatmap["x"] == list(range(1, EPOCHS + 1))
    # The first plan was made before there were scores; those after the last epoch are the store's of now.
    quantiles = [*(record["score_quantiles"] for record in history[1:]), stats["score_quantiles"]]
    assert medians["y"] == pytest.approx([np.log10(each["0.5"]) for each in quantiles])
    shares = np.nan_to_num(np.array(heatmap["z"], float))
    assert shares.max(axis=0) == pytest.approx(np.ones(EPOCHS))
    for column, each in zip(shares.T, quantiles, strict=True):
        below = column[np.array(heatmap["y"]) < np.log10(each["0.5"])].sum() / column.sum()
        assert 0.3 < below < 0.7  # on the common bins half of the scores lie below the median, as they did

    (staleness,) = traces(page, "staleness-chart")
    assert staleness["y"] == [record["staleness_mean"] for record in history[1:]]
    oldest = stats["staleness_quantiles"]["1"]
    expect(page.locator("#staleness-quantiles div", has_text="oldest")).to_contain_text(f"{oldest:g} epoch")


def test_classes_and_health_are_those_of_the_run(known, server, page):
    classes = sorted(known["classes"]["classes"], key=lambda row: -row["keep_rate"])
    rows = page.locator("#classes tbody tr")
    expect(rows).to_have_count(10)
    assert rows.locator("th").all_text_contents() == [row["name"] for row in classes]
    drawn = [f"{row['drawn']} of {row['examples']}" for row in classes]
    assert rows.locator("td:nth-child(3)").all_text_contents() == drawn

    health = page.locator("#health")
    for words in (server.url, "none, all epochs are planned", "2, all up to date"):
        expect(health).to_contain_text(words)
    expect(health.get_by_role("img", name="OK")).to_have_count(5)
    expect(health.get_by_role("img", name="warning")).to_have_count(0)


def test_the_gallery_has_the_examples_with_their_images(watched, images, page):
    for shelf, query in {"highest": {}, "lowest": {"lowest": True}, "changed": {"by": "change"}}.items():
        pictures = page.locator(f"#{shelf} img")
        expect(pictures).to_have_count(12)
        assert [picture.get_attribute("alt") for picture in pictures.all()] == [
            f"example {row['index']:,}, {images.classes[images.labels[row['index']]]}"
            for row in watched.of(RUN, "top", k=12, **query).json()
        ]
        pictures.last.scroll_into_view_if_needed()
        for picture in pictures.all():
            expect(picture).to_have_js_property("naturalWidth", 8)
    page.get_by_label("Show").select_option("24")
    expect(page.locator("#highest img")).to_have_count(24)


def test_a_folder_of_runs_is_shown_as_its_newest_checkpoints_are(known, runs, visitor):
    with Dashboard(runs) as dashboard:
        page = visitor.open(dashboard.address)
        expect(page.locator("#lead")).to_have_text(f"All {EPOCHS} epochs are done.")
        expect(page.locator("#gallery-hint")).to_contain_text("--images SOURCE")
        expect(page.locator("#highest .no-image")).to_have_count(12)
        visitor.leave()


def test_a_wrong_token_is_refused_and_the_right_one_opens_the_page(server, known, visitor):
    with Dashboard(server.url, SADP_DIST_DASHBOARD_TOKEN=TOKEN) as dashboard:
        page = visitor.open(dashboard.address, expected="status of 401")
        token = page.get_by_label("Token")
        expect(token).to_be_focused()
        expect(page.locator("#dashboard")).to_be_hidden()
        assert RUN not in page.content()
        token.fill("a wrong token, which is long enough")
        token.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("This token is wrong.")
        expect(page.locator("#dashboard")).to_be_hidden()
        token.fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name=RUN)).to_be_visible()
        expect(page.locator("#login-page")).to_be_hidden()
        assert page.evaluate("document.cookie") == ""  # scripts do not get at it
        page.reload()
        expect(page.get_by_role("heading", name=RUN)).to_be_visible()
        visitor.leave()


def test_a_phone_does_not_scroll_sideways(watched, known, visitor):
    page = visitor.open(watched.address, viewport=PHONE, color_scheme="dark", is_mobile=True, has_touch=True)
    expect(page.locator("#classes tbody tr")).to_have_count(10)
    expect(page.locator("#changed img")).to_have_count(12)
    for width in (PHONE["width"], 320):
        page.set_viewport_size({**PHONE, "width": width})
        until(lambda: beyond_the_edge(page) == [])  # charts follow the window a moment later
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_text_has_contrast_in_both_themes_and_the_choice_is_remembered(watched, known, visitor):
    page = visitor.open(watched.address, color_scheme="dark")
    expect(page.locator("#changed img")).to_have_count(12)
    assert low_contrast(page) == []
    line = page.locator("#accuracy-chart .js-line").first
    paper, ink = "(e) => getComputedStyle(e).backgroundColor", "(e) => getComputedStyle(e).stroke"
    before = page.locator("body").evaluate(paper), line.evaluate(ink)
    page.get_by_role("button", name="light theme").click()
    after = page.locator("body").evaluate(paper), line.evaluate(ink)
    assert before[0] != after[0] and before[1] != after[1]
    assert low_contrast(page) == []
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_a_page_that_nobody_sees_asks_nothing(watched, known, visitor):
    page = visitor.open(watched.address)
    expect(page.locator("#changed img")).to_have_count(12)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    hide(page, True)
    for _ in range(5):  # it finishes what it had begun
        asked.clear()
        page.wait_for_timeout(3000)
        if not asked:
            break
    assert asked == []
    with page.expect_request("**/api/runs"):
        hide(page, False)


def hide(page: Page, hidden: bool) -> None:
    """Have the page believe that nobody sees it, or that somebody does again."""
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_a_run_that_began_anew_while_nobody_looked_is_shown_as_it_is(watched, server, visitor):
    with train(server.url, "anew", np.repeat([0, 1], 40)) as store:
        page = visitor.open(watched.address, "anew")
        expect(headline(page, "Epoch")).to_have_text("3")
        hide(page, True)
        store.reset()
        for epoch in range(3):
            train_epoch(store, 80, epoch)
            store.record(epoch, {"loss": 7.0})
        store.flush()
        hide(page, False)
        expect(headline(page, "Loss")).to_have_text("7")
        assert traces(page, "loss-chart")[0]["y"] == [7.0, 7.0, 7.0]


@pytest.fixture(scope="module")
def others(server: RedisServer, known: dict[str, Any]) -> Iterator[Store]:
    """Two small runs in the same Redis, under names that somebody has chosen badly; gives the first one."""
    labels = np.repeat([0, 1], 40)
    with train(server.url, HOSTILE, labels) as first, train(server.url, OTHER, labels):
        yield first


@pytest.fixture(scope="module")
def hostile(
    server: RedisServer, others: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dashboard]:
    """The dashboard of these runs, whose images are in folders with names as bad."""
    folder = tmp_path_factory.mktemp("hostile")
    random = np.random.default_rng(0)
    for name in (HOSTILE.replace("</b>", ""), "ordinary"):
        (folder / "train" / name).mkdir(parents=True)
        for i in range(40):
            pixels = random.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "train" / name / f"{i}.png")
    with Dashboard(server.url, "--images", folder, "--split", "train") as dashboard:
        yield dashboard


def test_names_of_runs_and_classes_are_shown_as_text(hostile, visitor):
    page = visitor.open(hostile.address, HOSTILE)
    expect(page.locator("#run-name")).to_have_text(HOSTILE)
    expect(page).to_have_title(f"{HOSTILE} · sadp_dist")
    expect(page.locator("#runs .name", has_text=HOSTILE)).to_have_count(1)
    expect(page.locator("#classes tbody th", has_text="onerror=")).to_have_count(1)
    expect(page.locator("#highest .label", has_text="onerror=").first).to_be_visible()
    expect(page.locator("#dashboard :is(b, img[src=x])")).to_have_count(0)
    assert page.evaluate("window.hacked") is None


def test_the_keyboard_alone_is_enough(hostile, visitor):
    page = visitor.open(hostile.address, HOSTILE)
    expect(page.locator("#changed li")).to_have_count(12)
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        focus = page.locator(":focus")
        reached.append(focus.evaluate("(e) => e.id || e.type || e.tagName"))
        outline = focus.evaluate("(e) => getComputedStyle(e.closest('.choice') ?? e).outlineStyle")
        assert outline != "none", f"nobody sees that {reached[-1]} has the focus"
    assert reached == ["skip", "theme", "SUMMARY", "radio", "SUMMARY", "gallery-size"]

    page.locator("#skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    assert page.url.endswith(f"#run={quote(HOSTILE, safe='')}")

    page.locator("#runs input:checked").focus()
    page.keyboard.press("ArrowDown")
    while page.locator(":focus").input_value() != OTHER:
        page.keyboard.press("ArrowDown")
    expect(page.locator("#run-name")).to_have_text(OTHER)
    page.reload()  # the address keeps the choice
    expect(page.locator("#run-name")).to_have_text(OTHER)
    page.get_by_label("Show").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#highest li")).to_have_count(24)
    page.locator(".table-view summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#curves-table")).to_be_visible()


def test_a_zoom_is_kept_when_figures_arrive(watched, others, visitor):
    page = visitor.open(watched.address, HOSTILE)
    chart = page.locator("#loss-chart")
    chart.scroll_into_view_if_needed()
    box = chart.locator(".nsewdrag").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=5)
    page.mouse.up()
    shown = "(chart) => chart.layout.xaxis.range"
    zoomed = chart.evaluate(shown)
    epoch = others.stats().epoch + 1
    train_epoch(others, 80, epoch)
    expect(headline(page, "Epoch")).to_have_text(f"{epoch + 1}")
    assert len(traces(page, "loss-chart")[0]["x"]) == epoch + 1
    assert chart.evaluate(shown) == zoomed
    chart.dblclick(position={"x": box["width"] / 2, "y": box["height"] / 2})
    assert chart.evaluate(shown) != zoomed


def test_of_many_classes_the_ends_are_shown(watched, server, visitor):
    with train(server.url, "many classes", np.arange(400) % 200):
        page = visitor.open(watched.address, "many classes")
        tables = page.locator("#classes table")
        expect(tables).to_have_count(2)
        classes = watched.of("many classes", "classes").json()["classes"]
        rates = sorted(row["keep_rate"] for row in classes)
        for table, ends in ((tables.first, rates[:-16:-1]), (tables.last, rates[:15])):
            labels = table.locator("tbody th").all_text_contents()
            assert [classes[int(label)]["keep_rate"] for label in labels] == ends
        (bars,) = traces(page, "classes-chart")
        assert sum(bars["y"]) == 200


def test_what_is_off_is_said_with_what_to_do(watched, server, visitor):
    pruning = PruningConfig(ratio=0.9, epochs=5, floor="absolute", min_probability=0.5)
    with connect(server.url, "high floor", 100, pruning, np.arange(100) % 10) as store:
        train_epoch(store, 100, 0)
        page = visitor.open(watched.address, "high floor")
        expect(page.locator("#warnings li")).to_have_text(re.compile("The floor β is above S/N.* Lower "))


def test_every_warning_comes_with_its_figures(known, page):
    """Of figures that a short run does not have: those of the trained one, with others in their place."""
    warnings = "async (seen) => (await import('/static/summary.js')).warnings(seen)"
    for change, said in (
        ({}, None),
        ({"stats": {"epoch": 3}, "planner": None}, "No planner is running"),
        (
            {"stats": {"epoch": 3, "waiting_ranks": [1]}, "waited": 16},
            "Rank 1 has not asked for the next epoch",
        ),
        ({"stats": {"epoch": 3, "waiting_ranks": [1]}, "waited": 3}, None),
        ({"stats": {"effective_sample_size": 100.0}}, "a few large weights dominate the gradient"),
        (
            {"stats": {"effective_sample_size": 100.0, "floor": None}},
            "dominate the gradient. Lower pruning.ratio.",
        ),
        ({"stats": {"rejected_pushes": 2}}, "2 pushes were rejected"),
        ({"stats": {"bad_frames": {"checksum": 3}}}, "could not be read and were skipped: checksum (3)"),
    ):
        seen = {**known, "planner": "rank 0", "waited": 0, **change}
        seen["stats"] = {**known["stats"], **change.get("stats", {})}
        found = [line.replace("\u00a0", " ") for line in page.evaluate(warnings, seen)]
        assert len(found) == (said is not None), found
        assert said is None or said in found[0]


def test_a_store_that_is_gone_is_said_and_its_return_too(watched, server, known, visitor):
    page = visitor.open(watched.address, RUN, expected="status of 503")
    expect(page.locator("#lead")).to_contain_text("epochs are done.")
    server.kill()
    expect(page.locator("#connection")).to_have_text("Not connected")
    expect(page.locator("#warnings li")).to_contain_text("Trying again every two seconds.")
    expect(page.locator("#lead")).to_contain_text("epochs are done.")  # what was known is still there
    server.start()
    expect(page.locator("#connection")).to_have_text("Live")


def percent(share: float) -> str:
    return f"{100 * share:.1f}\u00a0%"
