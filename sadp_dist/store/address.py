"""Where a store is, as it may be shown."""

from __future__ import annotations

import re


def without_password(text: str) -> str:
    """A URL, or what was meant for one, to print: "***" stands for who logs in and with which password.

    What comes before the last "@" may be a password whatever separates it, for in a mistyped URL anything
    does.
    """
    text = re.sub(r"([?&]password=)[^&#]*", r"\1***", text)
    return re.sub(r"([^:/@]*(?:://|//|:/|:))?.*@", r"\1***@", text, flags=re.DOTALL)
