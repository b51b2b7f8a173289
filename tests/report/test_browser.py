"""The page in a real browser: nothing is asked for, all can be read, on a phone as well, light and dark."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright")

from sadp_dist.report import read_run, write_report
from tests.dashboard.browser import CHROMIUM, PHONE, WIDE, Visitor, beyond_the_edge, browsing, low_contrast

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.mark.slow
def test_the_page_shows_its_figures_on_a_phone_and_a_screen_light_and_dark(runs, tmp_path):
    page_file = write_report([read_run(run_dir) for run_dir in runs.values()], tmp_path)
    with browsing() as browser:
        visitor = Visitor(browser)
        for viewport in (PHONE, WIDE):
            for scheme in ("light", "dark"):
                page = visitor.open(page_file.as_uri(), viewport=viewport, color_scheme=scheme)
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
