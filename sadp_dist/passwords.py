"""Hides user names and passwords in URLs before they are printed."""

from __future__ import annotations

import re


def without_password(text: str) -> str:
    """Return a URL, or text that may be one, with "***" for the user name and the password.

    In a mistyped URL any character may separate the password, so everything before the last "@" is hidden.
    """
    text = re.sub(r"([?&]password=)[^&#]*", r"\1***", text)
    return re.sub(r"([^:/@]*(?:://|//|:/|:))?.*@", r"\1***@", text, flags=re.DOTALL)
