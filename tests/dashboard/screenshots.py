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
    "dashboard-light": {"viewport": {"width": 1440, "height": 2700}},  # all of it
    "dashboard-dark": {"color_scheme": "dark"},
    "dashboard-phone": {"viewport": PHONE, "is_mobile": True, "device_scale_factor": 2},
}


def take_screenshots(visitor: Visitor, address: str) -> None:
    """Write them, of the run that a dashboard shows first."""
    assert FOLDER is not None
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, options in PICTURES.items():
        page = visitor.open(address, **options)
        expect(page.locator("#changed img")).to_have_count(12)
        expect(page.locator("#staleness-chart .main-svg").first).to_be_visible()
        page.wait_for_load_state("networkidle")  # the images are there
        picture = Image.open(io.BytesIO(page.screenshot()))
        colors = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        colors.save(FOLDER / f"{name}.png", optimize=True)
