"""Routes for the pages, and the files that they need. None of them holds a secret: those come from the API."""

from importlib.resources import files
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from catsdogs_edge.web.endpoint import Endpoint, context

STATIC = Path(str(files("catsdogs_edge.web") / "static"))

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
_FOREVER = "max-age=31536000, immutable"
_ALONE = {
    # Threads in the browser need a page that shares nothing with others; on the live page it would forbid to embed it
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
}


def _file(name: str, headers: dict[str, str] | None = None, *, is_versioned: bool = False) -> Response:
    """Answers with a file of the package; one that is kept compressed goes as it is."""
    packed = STATIC / f"{name}.gz"
    headers = {"cache-control": _FOREVER if is_versioned else "no-cache", **(headers or {})}
    if packed.is_file():
        headers["content-encoding"] = "gzip"
    path = packed if packed.is_file() else STATIC / name
    return FileResponse(path, headers={**headers, "content-type": _TYPES[Path(name).suffix]})


async def live_page(request: Request) -> Response:
    """Answers with the live page; without a camera, with the one that labels images, or classifies them."""
    served = context(request)
    return _file("live.html" if served.camera else "review.html" if served.review else "try.html")


async def here_page(request: Request) -> Response:
    """Answers with the page that runs the model in the visitor's browser."""
    return _file("here.html", _ALONE)


async def service_worker(request: Request) -> Response:
    """Answers with the script that keeps what `here` needs; here, so that it may serve that page."""
    return _file("service.js", _ALONE)


async def static(request: Request) -> Response:
    """Answers with one of the files in the package."""
    name = request.path_params["name"]
    if name not in NAMES:
        raise HTTPException(404, "there is no such file")
    return _file(name, _ALONE, is_versioned="v" in request.query_params)


NAMES = frozenset(path.name.removesuffix(".gz") for path in STATIC.iterdir() if path.suffix in {*_TYPES, ".gz"})
"""Files that anybody may have: a name is looked up here, and never becomes a path otherwise."""

_HTML = {200: "text/html"}

ENDPOINTS = (
    Endpoint(method="GET", path="/", handler=live_page, summary="The page.", tag="pages", answers=_HTML, is_open=True),
    Endpoint(
        method="GET",
        path="/here",
        handler=here_page,
        summary="The same model in the visitor's browser.",
        tag="pages",
        answers=_HTML,
        is_open=True,
    ),
    Endpoint(
        method="GET",
        path="/service.js",
        handler=service_worker,
        summary="Keeps that page for when there is no network.",
        tag="pages",
        answers={200: "text/javascript"},
        is_open=True,
    ),
    Endpoint(
        method="GET",
        path="/static/{name}",
        handler=static,
        summary="Scripts, styles, and onnxruntime-web.",
        tag="pages",
        answers={200: "*/*", 404: "application/json"},
        is_open=True,
    ),
)
