"""Access control: the token, the login cookie and the security headers."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import Counter
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PUBLIC, PUBLIC_FOLDER = ("/", "/healthz"), "/static/"
"""Paths without a token: the page with the login form and its files, which contain no data of a run."""
LOGGED_IN_FOR = 30 * 86400
"""Seconds until a login expires. A new token of the dashboard ends it at once."""
LONGEST_FORM = 4096  # bytes
MOST_WRONG = 10
"""Wrong tokens that an address may send within `WINDOW`; after that it is told to wait."""
WINDOW = 60.0  # seconds

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
# Plotly sets inline styles and creates images.
CONTENT = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
WITH_A_SCRIPT = ("/docs",)
"""Pages with an inline script, which is the same for every user."""


class Access:
    """Middleware that requires the token, if there is one.

    A request carries the token as `Authorization: Bearer`, or a cookie that the page's login form (POST
    /login) sets. The token cannot be computed from the cookie.

    Args:
        app: the application to protect.
        token: None allows every request.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token
        self._wrong = WrongTokens()
        if token is not None:
            self._cookie = hmac.new(token.encode(), b"sadp-dist dashboard", hashlib.sha256).hexdigest()
            # Cookies ignore the port: two dashboards on one host need different names.
            self._cookie_name = f"sadp_dist_{hashlib.sha256(self._cookie.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                scripts = " 'unsafe-inline'" if scope["path"] in WITH_A_SCRIPT else ""
                headers.update({**HEADERS, "content-security-policy": CONTENT.format(scripts=scripts)})
                headers.setdefault("cache-control", "no-store")
            await send(message)

        request = Request(scope, receive)
        response = await self._respond(request)
        await (response or self._app)(scope, receive, send_guarded)

    async def _respond(self, request: Request) -> Response | None:
        """Return the response to a login or a refused request; None if the app answers."""
        path = request.scope["path"]  # request.url is built from the Host header, which can be anything
        if (request.method, path) == ("POST", "/login"):
            return await self._log_in(request)
        if (
            self._token is None
            or path in PUBLIC
            or path.startswith(PUBLIC_FOLDER)
            or self._has_cookie(request)
        ):
            return None
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._judge(request, sent.strip())
        return _refusal("a token is required; log in on the page, or send Authorization: Bearer TOKEN")

    def _judge(self, request: Request, sent: str) -> Response | None:
        """Return the refusal of a wrong token, or of too many; None for the right token."""
        assert self._token is not None
        if hmac.compare_digest(sent.encode(errors="surrogateescape"), self._token.encode()):
            return None  # also after wrong ones, which somebody else behind the same proxy may have sent
        sender = request.client.host if request.client is not None else ""
        if self._wrong.too_many(sender):
            wait = {"retry-after": f"{WINDOW:.0f}"}
            detail = f"too many wrong tokens; try again in {WINDOW:.0f} s"
            return JSONResponse({"detail": detail}, 429, headers=wait)
        self._wrong.count(sender)
        return _refusal("the token is wrong")

    def _has_cookie(self, request: Request) -> bool:
        sent = request.cookies.get(self._cookie_name, "")
        return hmac.compare_digest(sent.encode(errors="replace"), self._cookie.encode())

    async def _log_in(self, request: Request) -> Response:
        to_the_page = RedirectResponse("./", 303)
        if self._token is None:
            return to_the_page
        form = b""
        async for part in request.stream():
            form += part
            if len(form) > LONGEST_FORM:
                return JSONResponse({"detail": f"the form has more than {LONGEST_FORM} bytes"}, 413)
        sent = parse_qs(form.decode(errors="replace")).get("token", [""])[0]
        refused = self._judge(request, sent.strip())
        if refused is not None:
            return refused
        to_the_page.set_cookie(
            self._cookie_name,
            self._cookie,
            max_age=LOGGED_IN_FOR,
            httponly=True,
            samesite="strict",
            secure=request.scope["scheme"] == "https",
        )
        return to_the_page


class WrongTokens:
    """Counts the wrong tokens of each address in the current minute."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._since = time.monotonic()

    def count(self, sender: str) -> None:
        self._counts[sender] += 1

    def too_many(self, sender: str) -> bool:
        if time.monotonic() - self._since > WINDOW:
            self._counts.clear()
            self._since = time.monotonic()
        return self._counts[sender] >= MOST_WRONG


def _refusal(detail: str) -> Response:
    return JSONResponse({"detail": detail}, 401, headers={"www-authenticate": "Bearer"})
