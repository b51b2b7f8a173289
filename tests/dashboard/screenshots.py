"""The pictures of docs/dashboard.md."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect

from tests.dashboard.browser import PHONE, Visitor

FOLDER = None if (folder := os.environ.get("SADP_DIST_SCREENSHOTS")) is None else Path(folder)
"""Where they go; None takes none."""

PICTURES = {
    "dashboard-light": {},
    "dashboard-dark": {"color_scheme": "dark"},
    "dashboard-phone": {"viewport": PHONE, "is_mobile": True, "device_scale_factor": 2},
}
WHOLE = "dashboard-light"
"""Of the others what fits on a screen."""


def take_screenshots(visitor: Visitor, address: str) -> None:
    """Write them, of the run that a dashboard shows first."""
    assert FOLDER is not None
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, options in PICTURES.items():
        page = visitor.open(address, **options)
        expect(page.locator("#changed img")).to_have_count(12)
        expect(page.locator("#staleness-chart .main-svg").first).to_be_visible()
        for image in page.locator(".shelf img").all():
            image.evaluate("(image) => (image.loading = 'eager')")
        page.wait_for_function("[...document.querySelectorAll('.shelf img')].every((i) => i.complete)")
        pixels = Image.open(io.BytesIO(page.screenshot(full_page=name == WHOLE)))
        few_colors = pixels.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few_colors.save(FOLDER / f"{name}.png", optimize=True)
