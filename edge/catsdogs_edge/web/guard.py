"""Who may ask: the host, the origin, the token; and the headers of each answer.

Loopback alone is no protection: any web page can make the visitor's browser ask 127.0.0.1, under a name of its own that
points there (DNS rebinding), or as part of a form. So the name and the origin are checked before anything else.
"""

import base64
import hashlib
import hmac
import ipaddress
import re
import time
from collections import deque
from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catsdogs_edge.web.endpoint import Json
from catsdogs_edge.web.options import Access, is_loopback
from catsdogs_edge.web.telemetry import Telemetry

COOKIE = "catsdogs_session"

_PAGE_HEADER = "x-catsdogs-page"  # that our own pages send; only https and localhost have headers of the browser's own

_MOST_FAILURES, _FAILURE_SECONDS = 10, 60.0
_MOST_CLIENTS = 1000
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' blob:; media-src 'self' blob:; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; "
)
_NOTHING = "default-src 'none'; "  # for what is no page
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """ASGI middleware around all routes.

    Plain ASGI, not Starlette's `BaseHTTPMiddleware`, which buffers streams and does not pass on that a client has gone.
    """

    def __init__(
        self, app: ASGIApp, access: Access, telemetry: Telemetry, open_paths: Sequence[re.Pattern[str]]
    ) -> None:
        self._app = app
        self._access = access
        self._telemetry = telemetry
        self._open = open_paths
        self._failures = FailureLimit()
        self._session, self._cookie = session(access.token), cookie_name(access.token)
        framed_by = " ".join(sorted(access.origins)) or "'none'"
        self._headers = [*_HEADERS, (b"content-security-policy", f"{_NOTHING}frame-ancestors {framed_by}".encode())]
        self._of_pages = [*_HEADERS, (b"content-security-policy", f"{_POLICY}frame-ancestors {framed_by}".encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request itself, or passes it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        allowed = self._allowed_origin(request.headers)
        status = 500

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(message["headers"])
                if allowed:
                    headers = MutableHeaders(scope=message)
                    headers["access-control-allow-origin"] = allowed
                    headers["access-control-allow-credentials"] = "true"
                    headers["access-control-expose-headers"] = "X-Catsdogs"
                    headers["cross-origin-resource-policy"] = "cross-origin"
                    headers.add_vary_header("Origin")
            await send(message)

        refusal = self._refuse(request, allowed)
        try:
            await (refusal or self._app)(scope, receive, send_guarded)
        finally:
            route = scope.get("route")
            self._telemetry.add_request(getattr(route, "path", "other") if not refusal else "refused", status)

    def _add_headers(self, raw: list[tuple[bytes, bytes]]) -> None:
        """Adds those of every answer; to the list itself, because frames come many times a second."""
        given = dict(raw)
        is_page = given.get(b"content-type", b"").startswith((b"text/html", b"text/javascript"))  # a worker's own, too
        raw += self._of_pages if is_page else self._headers
        if b"cache-control" not in given:
            raw.append((b"cache-control", b"no-store"))

    def _refuse(self, request: Request, allowed_origin: str) -> Response | None:
        """Returns the answer to who may not ask; None to who may."""
        headers = request.headers
        host = headers.get("host", "")
        if not self._knows_host(host, request.scope.get("server")):
            return refuse(
                421, f"the host '{_name_of(host)}' is not known here: start the server with --allow-host, or use its IP"
            )
        if not allowed_origin and _is_foreign(request, self._own_origins(host)):
            return refuse(403, "another web page may not ask: start the server with --allow-origin")
        if allowed_origin and request.method == "OPTIONS":
            return Response(
                status_code=204,
                headers={
                    "access-control-allow-methods": "GET, POST",
                    "access-control-allow-headers": "authorization, content-type",
                },
            )
        if "token" in request.query_params:
            return refuse(400, "a token in an address reaches logs: send it as 'Authorization: Bearer TOKEN'")
        return self._refuse_without_token(request)

    def _refuse_without_token(self, request: Request) -> Response | None:
        headers, token = request.headers, self._access.token
        if not token or any(path.match(request.scope["path"]) for path in self._open):
            return None
        # First, and never counted as a guess: it is long, and may be an old one, or come from behind the same proxy
        if _same(request.cookies.get(self._cookie, ""), self._session):
            return None
        client = request.client.host if request.client else ""
        if self._failures.is_reached(client):
            return refuse(429, "too many wrong tokens: wait a minute", {"retry-after": "60"})
        shown = shown_token(headers)
        if shown is not None and _same(shown, token):
            return None
        if shown is not None:
            self._failures.add(client)
        # Browsers ask their user for a password at 'Basic': not for requests of our own pages, which do it themselves.
        scheme = "Bearer" if _PAGE_HEADER in headers else "Basic"
        return refuse(401, "a token is needed", {"www-authenticate": f'{scheme} realm="catsdogs"'})

    def _knows_host(self, host: str, server: tuple[str, int] | None) -> bool:
        name = _name_of(host)
        if is_loopback(name) or name in self._access.hosts or name == self._access.host.lower():
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        if self._access.token:  # an address in numbers cannot be made to point elsewhere
            return True
        return server is not None and address == ipaddress.ip_address(server[0])

    @staticmethod
    def _own_origins(host: str) -> frozenset[str]:
        return frozenset({f"http://{host}".lower(), f"https://{host}".lower()})

    def _allowed_origin(self, headers: Headers) -> str:
        origin = headers.get("origin", "")
        return origin if origin.lower() in self._access.origins else ""


class FailureLimit:
    """Counts wrong tokens of the last minute by client."""

    def __init__(self) -> None:
        self._moments: dict[str, deque[float]] = {}

    def is_reached(self, client: str) -> bool:
        """Returns whether a client has to wait."""
        moments = self._moments.get(client, deque())
        while moments and moments[0] < time.monotonic() - _FAILURE_SECONDS:
            moments.popleft()
        return len(moments) >= _MOST_FAILURES

    def add(self, client: str) -> None:
        """Counts one."""
        if client not in self._moments and len(self._moments) >= _MOST_CLIENTS:
            self._moments.pop(next(iter(self._moments)))
        self._moments.setdefault(client, deque()).append(time.monotonic())


def session(token: str) -> str:
    """Returns what the cookie holds instead of the token: it ends when the token changes."""
    return hmac.new(token.encode(), b"catsdogs session", hashlib.sha256).hexdigest()


def cookie_name(token: str) -> str:
    """Returns the name of the cookie: one for each token, because browsers give cookies to all ports of a host."""
    return f"{COOKIE}_{hashlib.sha256(session(token).encode()).hexdigest()[:8]}"


def shown_token(headers: Headers) -> str | None:
    """Returns the token that a request shows, as Bearer or as the password of Basic; None where it shows none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return None


def refuse(status: int, error: str, headers: Mapping[str, str] | None = None) -> Json:
    """Returns an answer that says in one line why there is none."""
    return Json({"error": error}, status, headers)


def _same(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode(), wanted.encode())


def _name_of(host: str) -> str:
    """Returns the name in a Host header, without its port."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].lower()


def _is_foreign(request: Request, own: frozenset[str]) -> bool:
    """Returns whether another web page asks. Following a link to a page of ours is not asking."""
    headers = request.headers
    origin = headers.get("origin", "").lower()
    if origin:
        return origin not in own
    is_link = request.method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    return headers.get("sec-fetch-site") in {"cross-site", "same-site"} and not is_link
