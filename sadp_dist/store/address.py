"""Where a store is, as it may be shown."""

from __future__ import annotations

import re


def without_password(url: str) -> str:
    """A URL to print: "***" stands for the password, wherever it is in it."""
    scheme, separator, rest = url.partition("://")
    userinfo, at, place = rest.rpartition("@")
    if at:
        user, colon, _ = userinfo.partition(":")
        rest = f"{user}{colon}{'***' * bool(colon)}@{place}"
    return re.sub(r"([?&]password=)[^&#]*", r"\1***", f"{scheme}{separator}{rest}")
