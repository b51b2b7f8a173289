"""A browser to look at the page with, and what it shows."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

from playwright.sync_api import Browser, BrowserContext, Error, Locator, Page, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 90_000
"""Milliseconds that the page may take for anything: the machine may have other things to do."""
NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"
"""How Chromium ends its requests when another test adds or removes a network interface of this machine."""
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@contextmanager
def browsing() -> Iterator[Browser]:
    """A Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def go_to(page: Page, address: str) -> None:
    """Load a page, also while this machine's network interfaces change."""
    for _ in range(9):
        try:
            page.goto(address)
            return
        except Error as error:
            if NETWORK_CHANGED not in str(error):
                raise
    page.goto(address)


class Visitor:
    """Opens the page, each time as somebody new, and notes what may not happen.

    Attributes:
        problems: errors and warnings in the console, and requests to other hosts than the dashboard's.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.problems: list[str] = []

    def open(self, address: str, run: str | None = None, expected: str = "$^", **options: Any) -> Page:
        """The page of a dashboard.

        Args:
            address: of the dashboard.
            run: to look at; None leaves the choice to the page.
            expected: what the console may say, as a regular expression.
            options: of Playwright's `Browser.new_context`.
        """
        context = self._browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        host = urlsplit(address).netloc

        def hear(level: str, text: str) -> None:
            if level in ("error", "warning") and not re.search(f"{expected}|{NETWORK_CHANGED}", text):
                self.problems.append(f"{level}: {text}")

        def see(url: str) -> None:
            if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != host:
                self.problems.append(f"the page asks {url}")

        page.on("console", lambda line: hear(line.type, line.text))
        page.on("pageerror", lambda error: self.problems.append(f"{error}\n{error.stack}"))
        page.on("request", lambda request: see(request.url))
        go_to(page, address if run is None else f"{address}/#run={quote(run, safe='')}")
        return page

    def leave(self) -> None:
        """Close all pages, before their dashboard ends."""
        while self._contexts:
            self._contexts.pop().close()


def headline(page: Page, name: str) -> Locator:
    """A figure of the headline."""
    return page.locator("#headline > div", has=page.get_by_text(name, exact=True)).locator(".value")


def traces(page: Page, chart: str) -> list[dict[str, Any]]:
    """The x, y and z of what Plotly has drawn."""
    drawn: list[dict[str, Any]] = page.evaluate(
        """(id) => document.getElementById(id).data
          .map(({ x, y, z }) => JSON.parse(JSON.stringify({ x, y, z })))""",
        chart,
    )
    return drawn


def low_contrast(page: Page) -> list[str]:
    """The elements whose text has less contrast than WCAG 2 asks for (AA: 4.5 to 1)."""
    found: list[str] = page.evaluate(_LOW_CONTRAST)
    return found


def beyond_the_edge(page: Page) -> list[str]:
    """The elements that reach beyond the right edge of the window, and do not scroll by themselves."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
          .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
          .filter((element) => !element.closest(".scroll, .unseen"))
          .map((element) => element.outerHTML)"""
    )
    return found


_LOW_CONTRAST = r"""() => {
  const numbers = (color) => color.match(/[\d.]+/g).map(Number);
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = (color) => {
    const [red, green, blue] = numbers(color).map((value) => linear(value / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element) => {
    const { backgroundColor: color } = getComputedStyle(element);
    return numbers(color)[3] === 0 ? behind(element.parentElement) : color;
  };
  const isText = (node) => node.nodeType === 3 && node.data.trim();
  return [...document.querySelectorAll("body *")]
    .filter((element) => [...element.childNodes].some(isText) && element.checkVisibility())
    .filter((element) => !element.closest(".skip, .unseen, svg, .js-plotly-plot"))
    .filter((element) => {
      const lights = [light(getComputedStyle(element).color), light(behind(element))];
      return (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05) < 4.5;
    })
    .map((element) => element.outerHTML);
}"""
