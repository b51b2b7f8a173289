"""The documentation builds without a warning, has no broken links, and loads nothing from other hosts."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import matplotlib
import pytest
import yaml

from tests.forked import run_forked

ROOT = Path(__file__).parents[2]
GENERATE = ROOT / "docs" / "generate"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def test_every_link_inside_the_site_leads_somewhere(site):
    pages = {file: Page(file) for file in site.rglob("*.html") if file.name != "404.html"}
    assert len(pages) > 25
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{file.relative_to(site)}: {link}"
            if parts.fragment and target in pages and not parts.fragment.startswith("__"):
                anchors = pages[target].anchors
                assert unquote(parts.fragment) in anchors, f"{file.relative_to(site)}: {link}"


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """A test says nothing unless it fails."""

    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
def test_a_browser_asks_no_other_host_and_finds_no_error(site, address):
    from playwright.sync_api import sync_playwright

    from tests.dashboard.browser import NETWORK_CHANGED, go_to

    asked, complaints = [], []
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        # Each page would read the whole index, which takes longer than all else; the search below does.
        page.route("**/search_index.json", lambda route: route.fulfill(json={**index, "docs": []}))
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        for file in sorted(site.rglob("*.html")):
            if file.name != "404.html" and "repository" not in file.parts:
                go_to(page, f"{address}/{file.relative_to(site)}")
                wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
                assert not wide, f"{file.name} is wider than a phone"
        page.unroute("**/search_index.json")
        page.set_viewport_size({"width": 1280, "height": 800})
        go_to(page, f"{address}/index.html")
        page.get_by_role("textbox", name="Search").press_sequentially("largest_weight")
        page.locator(".md-search-result__item").first.wait_for()
        browser.close()
    assert len(asked) > 100
    assert [url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))] == []
    assert [text for text in complaints if NETWORK_CHANGED not in text] == []


def test_every_page_is_in_the_navigation_once():
    class Loader(yaml.SafeLoader):
        """The configuration of the site, but for the Python objects in it."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    shown = re.findall(r"[\w/-]+\.md", str(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"]))
    assert len(shown) == len(set(shown))
    written = {str(file.relative_to(ROOT / "docs")) for file in (ROOT / "docs").rglob("*.md")}
    from_the_root = {"changelog.md", "code-of-conduct.md", "contributing.md", "reporting.md"}
    assert written == set(shown) - from_the_root


def test_the_figures_are_those_that_the_script_draws(tmp_path):
    committed = {
        file.name: file.read_text(encoding="utf-8") for file in (ROOT / "docs/figures").glob("*.svg")
    }
    drawn_with = {re.search("<dc:title>Matplotlib v([^,]*),", text).group(1) for text in committed.values()}
    if drawn_with != {matplotlib.__version__}:
        pytest.skip(f"drawn with Matplotlib {drawn_with}, here is {matplotlib.__version__}")
    subprocess.run([sys.executable, GENERATE / "figures.py", "--out", tmp_path], check=True)
    assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.glob("*.svg")} == committed


@pytest.mark.parametrize(
    "script", ["checks", "choosing", "commands", "configuration", "gpu", "messages", "networks"]
)
def test_what_the_site_puts_in_a_command_prints(script, site):
    done = run_forked([GENERATE / f"{script}.py"])
    assert done.returncode == 0, done.stderr
    page = {"checks": "troubleshooting", "messages": "troubleshooting"}.get(script, script)
    html = (site / f"{page}.html").read_text(encoding="utf-8")
    assert "printed by" not in html
    words = re.findall(r"[a-z]{4,}", re.sub(r"`[^`]*`", "", done.stdout))
    assert len(words) > 15
    assert all(word in html for word in words)
