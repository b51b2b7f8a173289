"""The page in a real browser, beside a real training run in a real Redis.

SADP_DIST_SCREENSHOTS=docs/images writes the pictures of docs/dashboard.md, too.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from sadp_dist import PruningConfig, connect
from tests.dashboard.process import ROOT, TOKEN, Dashboard, train, train_epoch
from tests.store.redis_server import RedisServer

pytestmark = pytest.mark.slow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip(
        "no chromium, chromium-browser or google-chrome to look at the page with", allow_module_level=True
    )
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENSHOTS = os.environ.get("SADP_DIST_SCREENSHOTS")
EPOCHS = 30 if SCREENSHOTS else 12
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
HOSTILE = "<b>bold</b><img src=x onerror=window.hacked=1>"
PATIENCE = 60_000  # milliseconds; the machine may have other things to do

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens the page; in the end there may be no error in its console, and no request of it to another host."""
    contexts, problems = [], []

    def open_page(address: str, run: str | None = None, expected: str = "$^", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page.on("pageerror", lambda error: problems.append(f"{error}\n{error.stack}"))
        page.on(
            "console",
            lambda line: (
                line.type in ("error", "warning")
                and not re.search(expected, line.text)
                and problems.append(f"{line.type}: {line.text}")
            ),
        )
        page.on(
            "request",
            lambda request: (
                urlsplit(request.url).scheme in ("data", "blob")
                or urlsplit(request.url).netloc == urlsplit(address).netloc
                or problems.append(f"asks {request.url}")
            ),
        )
        page.goto(address if run is None else f"{address}/#run={quote(run, safe='')}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for the run that trains, with nothing in it before."""
    with RedisServer(tmp_path_factory.mktemp("trained"), aof=True) as server:
        yield server


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def watched(sandbox: RedisServer, digits: Path) -> Iterator[Dashboard]:
    with Dashboard(sandbox.url, "--images", digits, "--split", "train") as dashboard:
        yield dashboard


def test_every_panel_follows_a_run_while_it_trains(watched, sandbox, digits, runs_folder, open_page):
    page = open_page(watched.address)
    expect(page.locator("#lead")).to_have_text("Nothing has trained here.")
    expect(page.locator("#verdict")).to_contain_text(f"store.url={sandbox.url}")
    page.evaluate(
        """() => {
          window.leads = [];
          const lead = document.getElementById("lead");
          new MutationObserver(() => window.leads.push(lead.textContent)).observe(lead, { childList: true });
        }"""
    )
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
        *("-m", "sadp_dist", "train", ROOT / "configs/digits.yaml", f"output={runs_folder}/{{name}}"),
        *(f"data.train={digits}", f"data.test={digits}", "data.train_split=train", "data.test_split=test"),
        *("data.loader=torch", "data.workers=0", f"training.epochs={EPOCHS}", f"store.url={sandbox.url}"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as job:
        expect(page.get_by_role("radio", name="digits-sadp")).to_be_checked()  # nobody has reloaded the page
        expect(page.locator("#lead")).to_have_text(
            re.compile(rf"^Epoch \d+ of {EPOCHS} trains on \d+\.\d.% of ")
        )
        expect(figure(page, "Test accuracy")).to_have_text(re.compile(r"\d+\.\d.%"))
        if SCREENSHOTS:
            expect(figure(page, "Epoch")).to_have_text(re.compile(r"1[4-9]|2\d"))
            take_screenshots(open_page, watched.address)
        output, _ = job.communicate(timeout=120)
    assert job.returncode == 0, output.decode()
    expect(page.locator("#lead")).to_have_text(f"All {EPOCHS} epochs are done.")
    assert len(set(page.evaluate("window.leads"))) >= 3  # it began, it went on, it was done


@pytest.fixture(scope="module")
def answers(watched: Dashboard) -> dict[str, Any]:
    """What the API says of the run, now that it is over."""
    found = {what: watched.of("digits-sadp", what).json() for what in ("stats", "history", "classes")}
    assert found["stats"]["epoch"] == EPOCHS - 1, "the run has not trained"
    return found


def test_the_state_is_said_in_words_and_headline_figures(watched, answers, open_page):
    stats, history = answers["stats"], answers["history"]
    page = open_page(watched.address, "digits-sadp")
    expect(page.locator("#lead")).to_have_text(f"All {EPOCHS} epochs are done.")
    left_out = 1 - sum(record["drawn"] for record in history) / (EPOCHS * 1442)
    best = max(record["training"]["test_accuracy"] for record in history)
    assert 0.4 < left_out < 0.6 and best > 0.9
    for part in (f"pruning has left out {percent(left_out)} of all example passes", percent(best)):
        expect(page.locator("#verdict")).to_contain_text(part)
    expect(page.locator("#warnings li")).to_have_count(0)
    for name, value in {
        "Epoch": f"{EPOCHS}",
        "Test accuracy": percent(history[-1]["training"]["test_accuracy"]),
        "Pruning ratio": percent(stats["ratio"]),
        "Subset": f"{stats['subset_size']:,}",
        "Effective sample size": f"{stats['effective_sample_size']:,.0f}",
        "Examples N": "1,442",
    }.items():
        expect(figure(page, name)).to_have_text(value)


def test_the_curves_are_those_of_the_history(watched, answers, open_page):
    history = answers["history"]
    page = open_page(watched.address, "digits-sadp")
    expect(page.locator("#sample-size-chart .main-svg").first).to_be_visible()
    epochs = [record["epoch"] + 1 for record in history]
    for chart, lines in {
        "accuracy": [("training", "test_accuracy"), ("training", "train_accuracy")],
        "loss": [("training", "loss")],
        "ratio": [("ratio",)],
        "subset": [("drawn",)],
        "weight": [("largest_weight",)],
    }.items():
        drawn = traces(page, f"{chart}-chart")
        assert [trace["x"] for trace in drawn] == [epochs] * len(lines)
        for trace, path in zip(drawn, lines, strict=True):
            assert trace["y"] == [
                record[path[0]][path[1]] if path[1:] else record[path[0]] for record in history
            ]
    (share,) = traces(page, "sample-size-chart")
    assert share["y"] == [record["effective_sample_size"] / record["drawn"] for record in history]
    label = page.get_by_role(
        "img", name=re.compile(f"^Pruning ratio over {EPOCHS} epochs.*33.3.% at first, 70.0.% now")
    )
    expect(label).to_be_visible()

    page.get_by_text("The figures as a table").click()
    rows = page.locator("#curves-table tbody tr")
    expect(rows).to_have_count(EPOCHS)
    expect(rows.first.locator("td").first).to_have_text(f"{EPOCHS}")


def test_scores_and_staleness_are_those_of_every_epoch_and_of_now(watched, answers, open_page):
    stats, history = answers["stats"], answers["history"]
    page = open_page(watched.address, "digits-sadp")
    expect(page.locator("#staleness-chart .main-svg").first).to_be_visible()
    heatmap, medians = traces(page, "scores-chart")
    assert heatmap["x"] == list(range(1, EPOCHS + 1))  # the first plan was made before there were scores
    known = [*(record["score_quantiles"] for record in history[1:]), stats["score_quantiles"]]
    assert medians["y"] == pytest.approx([np.log10(quantiles["0.5"]) for quantiles in known])
    shares = np.array(heatmap["z"], float)
    assert shares.shape[1] == EPOCHS and np.nanmax(shares, axis=0) == pytest.approx(np.ones(EPOCHS))
    # Rebinned, an epoch's scores still lie where they lay: half of them below the median.
    for column, quantiles in zip(np.nan_to_num(shares).T, known, strict=True):
        below = column[np.array(heatmap["y"]) < np.log10(quantiles["0.5"])].sum() / column.sum()
        assert 0.3 < below < 0.7

    (staleness,) = traces(page, "staleness-chart")
    assert staleness["y"] == [record["staleness_mean"] for record in history[1:]]
    oldest = stats["staleness_quantiles"]["1"]
    expect(page.locator("#staleness-quantiles div", has_text="oldest")).to_contain_text(f"{oldest:g} epoch")


def test_classes_health_and_examples_are_those_of_the_run(watched, answers, sandbox, images, open_page):
    page = open_page(watched.address, "digits-sadp")
    classes = sorted(answers["classes"]["classes"], key=lambda row: -row["keep_rate"])
    rows = page.locator("#classes tbody tr")
    expect(rows).to_have_count(10)
    assert rows.locator("th").all_text_contents() == [row["name"] for row in classes]
    assert rows.locator("td:nth-child(3)").all_text_contents() == [
        f"{row['drawn']} of {row['examples']}" for row in classes
    ]

    health = page.locator("#health")
    expect(health).to_contain_text(sandbox.url)
    expect(health).to_contain_text("none, the run is over")
    expect(health).to_contain_text("2, all up to date")
    expect(health.get_by_role("img", name="look at this")).to_have_count(0)

    for shelf, query in {"highest": {}, "lowest": {"lowest": True}, "changed": {"by": "change"}}.items():
        top = watched.of("digits-sadp", "top", k=12, **query).json()
        pictures = page.locator(f"#{shelf} img")
        expect(pictures).to_have_count(12)
        assert [picture.get_attribute("alt") for picture in pictures.all()] == [
            f"example {row['index']:,}, {images.classes[images.labels[row['index']]]}" for row in top
        ]
        pictures.last.scroll_into_view_if_needed()
        page.wait_for_function(
            f"[...document.querySelectorAll('#{shelf} img')].every((i) => i.naturalWidth === 8)"
        )
    page.get_by_label("Show").select_option("24")
    expect(page.locator("#highest img")).to_have_count(24)


def test_a_folder_of_runs_is_shown_as_its_newest_checkpoints_are(answers, runs_folder, open_page):
    with Dashboard(runs_folder) as dashboard:
        page = open_page(dashboard.address)
        expect(figure(page, "Epoch")).to_have_text(f"{EPOCHS}")
        expect(page.locator("#gallery-hint")).to_contain_text("--images SOURCE")
        expect(page.locator("#highest .no-image")).to_have_count(12)


def test_a_wrong_token_is_refused_and_the_right_one_opens_the_page(sandbox, answers, open_page):
    with Dashboard(sandbox.url, SADP_DIST_DASHBOARD_TOKEN=TOKEN) as dashboard:
        page = open_page(dashboard.address, expected="status of 401")
        token = page.get_by_label("Token")
        expect(token).to_be_focused()
        expect(page.locator("#dashboard")).to_be_hidden()
        assert "digits-sadp" not in page.content()
        token.fill("a wrong token, which is long enough")
        token.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("This is not the token.")
        expect(page.locator("#dashboard")).to_be_hidden()
        token.fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_role("heading", name="digits-sadp")).to_be_visible()
        expect(page.locator("#door")).to_be_hidden()
        assert page.evaluate("document.cookie") == "" and TOKEN not in page.url
        page.reload()
        expect(page.get_by_role("heading", name="digits-sadp")).to_be_visible()


@pytest.fixture(scope="module")
def hostile(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """Of runs, and of a data set whose classes have the names that somebody has chosen badly."""
    folder = tmp_path_factory.mktemp("hostile")
    random = np.random.default_rng(0)
    names = [HOSTILE.replace("/", "⁄"), "ordinary"]
    for name in names:
        (folder / "train" / name).mkdir(parents=True)
        for i in range(40):
            pixels = random.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "train" / name / f"{i}.png")
    labels = np.repeat([0, 1], 40)
    with (
        train(server.url, HOSTILE, labels),
        train(server.url, "the/other one & ü", labels),
        Dashboard(server.url, "--images", folder, "--split", "train") as dashboard,
    ):
        yield dashboard


def test_names_of_runs_and_classes_are_shown_as_text(hostile, open_page):
    page = open_page(hostile.address, HOSTILE)
    expect(page.locator("#run-name")).to_have_text(HOSTILE)
    expect(page).to_have_title(f"{HOSTILE} · sadp_dist")
    expect(page.locator("#runs .name", has_text=HOSTILE)).to_have_count(1)
    expect(page.locator("#classes tbody th", has_text="onerror=")).to_have_count(1)
    expect(page.locator("#highest .label", has_text="onerror=").first).to_be_visible()
    assert (
        page.evaluate("document.querySelectorAll('#runs img, #run-name *, #classes img, main b').length") == 0
    )
    assert page.evaluate("window.hacked") is None


def test_the_page_is_used_with_the_keyboard_alone(hostile, open_page):
    page = open_page(hostile.address, HOSTILE)
    expect(page.locator("#classes tbody tr")).to_have_count(2)
    expect(page.locator("#highest li")).to_have_count(12)

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the figures")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    assert page.url.endswith(f"#run={quote(HOSTILE, safe='')}")

    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        if reached[-1] == "BODY":
            break
        outlined = "(e) => getComputedStyle(e.closest('label.choice') ?? e).outlineStyle"
        assert page.locator(":focus").evaluate(outlined) != "none", f"{reached[-1]} has the focus unseen"
    assert {"skip", "theme", "SUMMARY", "INPUT", "gallery-size"} <= set(reached)

    radio = page.locator("#runs input:checked")
    radio.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#run-name")).to_have_text("the/other one & ü")
    assert page.url.endswith(f"#run={quote('the/other one & ü', safe='')}")
    page.reload()  # the address has kept the choice
    expect(page.locator("#run-name")).to_have_text("the/other one & ü")
    page.go_back()
    expect(page.locator("#run-name")).to_have_text(HOSTILE)

    page.get_by_label("Show").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#highest li")).to_have_count(24)
    page.locator(".table-view summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#curves-table")).to_be_visible()


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_needs_no_scrolling_sideways(watched, answers, open_page, width):
    page = open_page(
        watched.address,
        viewport={**PHONE, "width": width},
        is_mobile=True,
        has_touch=True,
        color_scheme="dark",
    )
    expect(page.locator("#classes tbody tr")).to_have_count(10)
    expect(page.locator("#highest img")).to_have_count(12)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    beyond = "[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)"
    assert (
        page.evaluate(f"{beyond}.filter((e) => !e.closest('.scroll, .unseen')).map((e) => e.outerHTML)") == []
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_themes_and_the_switch_is_remembered(watched, answers, open_page, scheme):
    page = open_page(watched.address, color_scheme=scheme)
    expect(page.locator("#highest img")).to_have_count(12)
    assert page.evaluate(LOW_CONTRAST) == []
    paper = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(paper)
    line = "#accuracy-chart .scatterlayer path.js-line"
    color = page.locator(line).first.evaluate("(e) => getComputedStyle(e).stroke")
    other = "dark" if scheme == "light" else "light"
    page.get_by_role("button", name=f"{other} theme").click()
    assert page.evaluate(paper) != before
    page.wait_for_function(f"getComputedStyle(document.querySelector('{line}')).stroke !== '{color}'")
    assert page.evaluate(LOW_CONTRAST) == []
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", other)


def test_a_zoom_is_kept_when_figures_arrive(server, dashboard, training, images, open_page):
    page = open_page(dashboard.address, "digits")
    chart = page.locator("#loss-chart")
    chart.scroll_into_view_if_needed()
    box = chart.locator(".nsewdrag").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    zoomed = page.evaluate(RANGE)
    assert zoomed[1] - zoomed[0] < 2
    epoch = training.stats().epoch + 1
    train_epoch(training, len(images), epoch)
    expect(figure(page, "Epoch")).to_have_text(f"{epoch + 1}")
    assert len(traces(page, "loss-chart")[0]["x"]) == epoch + 1
    assert page.evaluate(RANGE) == zoomed


def test_a_page_that_nobody_sees_asks_nothing(watched, answers, open_page):
    page = open_page(watched.address)
    expect(page.locator("#highest img")).to_have_count(12)
    asked: list[str] = []
    page.on("request", lambda request: "/api/images" in request.url or asked.append(request.url))
    hide = "Object.defineProperty(document, 'hidden', { value: %s, configurable: true });"
    changed = "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(hide % "true" + changed)
    page.wait_for_load_state("networkidle")
    asked.clear()
    page.wait_for_timeout(3000)
    assert asked == []
    page.evaluate(hide % "false" + changed)
    page.wait_for_function("document.getElementById('connection').dataset.state === 'live'")
    page.wait_for_timeout(500)
    assert asked


def test_many_classes_are_shown_by_their_ends(server, open_page):
    labels = np.arange(400) % 200
    with train(server.url, "many", labels), Dashboard(server.url) as dashboard:
        page = open_page(dashboard.address, "many")
        expect(page.locator("#classes table")).to_have_count(2)
        expect(page.locator("#classes tbody tr")).to_have_count(30)
        rates = {row["label"]: row["keep_rate"] for row in dashboard.of("many", "classes").json()["classes"]}
        most, least = (
            page.locator("#classes table").nth(i).locator("tbody th").all_text_contents() for i in (0, 1)
        )
        assert [rates[int(label)] for label in most] == sorted(rates.values(), reverse=True)[:15]
        assert [rates[int(label)] for label in least] == sorted(rates.values())[:15]
        (bars,) = traces(page, "classes-chart")
        assert sum(bars["y"]) == 200


def test_what_is_off_is_said_with_what_to_do(server, open_page):
    labels = np.arange(100) % 10
    pruning = PruningConfig(ratio=0.9, epochs=5, min_probability=0.5)
    with connect(server.url, "too high a floor", 100, pruning, labels) as store:
        train_epoch(store, 100, 0)
        with Dashboard(server.url) as dashboard:
            page = open_page(dashboard.address, "too high a floor")
            expect(page.locator("#warnings li")).to_have_text(re.compile(r"The floor β is above S/N.*lower"))


def test_a_store_that_goes_away_and_comes_back_is_said(sandbox, watched, answers, open_page):
    page = open_page(watched.address, expected="status of 503")
    expect(page.locator("#lead")).to_contain_text("epochs are done.")
    sandbox.kill()
    expect(page.locator("#connection")).to_have_text("Not connected")
    expect(page.locator("#warnings li")).to_contain_text("Trying again every two seconds.")
    expect(page.locator("#lead")).to_contain_text("epochs are done.")  # what was known is still there
    sandbox.start()
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.locator("#warnings li")).to_have_count(0)


def figure(page: Page, name: str) -> Locator:
    """A headline figure."""
    return page.locator("#headline > div", has=page.get_by_text(name, exact=True)).locator(".value")


def percent(share: float) -> str:
    return f"{100 * share:.1f}\u00a0%"


def traces(page: Page, chart: str) -> list[dict[str, Any]]:
    """What Plotly has drawn."""
    return page.evaluate(
        "(id) => document.getElementById(id).data.map(({ x, y, z }) => JSON.parse(JSON.stringify({ x, y, z })))",
        chart,
    )


RANGE = "document.getElementById('loss-chart').layout.xaxis.range"

LOW_CONTRAST = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => numbers(color).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const seen = (element) => {
    const { backgroundColor } = getComputedStyle(element);
    return (numbers(backgroundColor)[3] ?? 1) === 0 ? seen(element.parentElement) : backgroundColor;
  };
  return [...document.querySelectorAll("body *")].filter((element) => {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || !element.checkVisibility() || element.closest(".skip, .unseen, svg, .js-plotly-plot")) return false;
    const [a, b] = [light(getComputedStyle(element).color), light(seen(element))].sort();
    return (b + 0.05) / (a + 0.05) < 4.5;
  }).map((element) => element.outerHTML);
}"""
"""Elements whose text has less contrast than WCAG 2 asks for (AA, 4.5 to 1)."""


def take_screenshots(open_page: OpenPage, address: str) -> None:
    """The pictures of docs/dashboard.md, of a run that trains."""
    assert SCREENSHOTS is not None
    folder = ROOT / SCREENSHOTS
    folder.mkdir(parents=True, exist_ok=True)
    for name, options, whole in (
        ("dashboard-light", {}, True),
        ("dashboard-dark", {"color_scheme": "dark"}, False),
        ("dashboard-phone", {"viewport": PHONE, "is_mobile": True, "device_scale_factor": 2}, False),
    ):
        page = open_page(address, **options)
        expect(page.locator("#changed img")).to_have_count(12)
        expect(page.locator("#scores-chart .main-svg").first).to_be_visible()
        for picture in page.locator(".shelf img").all():
            picture.evaluate("(image) => (image.loading = 'eager')")
        page.wait_for_function(
            "[...document.querySelectorAll('.shelf img')].every((image) => image.complete)"
        )
        pixels = Image.open(io.BytesIO(page.screenshot(full_page=whole)))
        colors = pixels.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        colors.save(folder / f"{name}.png", optimize=True)
        page.context.close()
