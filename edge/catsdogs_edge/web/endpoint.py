"""What a route is, once for the server and for the OpenAPI document, and what all routes work with."""

import asyncio
import gzip
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from catsdogs_edge.collection.review import Review
from catsdogs_edge.model.contract import Contract
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.stream.frame_result import FrameResult, to_row
from catsdogs_edge.web.camera.history import History
from catsdogs_edge.web.camera.hub import Hub
from catsdogs_edge.web.classify.inference import InferenceQueue
from catsdogs_edge.web.options import Access
from catsdogs_edge.web.telemetry import Telemetry

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedSource:
    """A source that is watched while the server runs."""

    name: str
    """As the source calls itself, without credentials."""
    hub: Hub
    history: History


class Json(JSONResponse):
    """JSON in ASCII: names of files need not be UTF-8."""

    def render(self, content: Any) -> bytes:
        """Returns it as bytes; raises `ValueError` for numbers that are not finite."""
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


class ViewerResponse(StreamingResponse):
    """A stream that counts as a viewer until it ends, however it ends."""

    def __init__(self, hub: Hub, content: AsyncIterator[bytes | str], media_type: str) -> None:
        hub.enter()
        self._hub = hub
        super().__init__(content, media_type=media_type, headers={"x-accel-buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._hub.leave()


class PackedModel:
    """The model file, compressed once, when somebody first asks for it, and kept: it takes a second."""

    def __init__(self, path: Path, sha256: str) -> None:
        self._path = path
        self._sha256 = sha256
        self._work: asyncio.Future[bytes] | None = None
        self.size = path.stat().st_size

    async def get(self) -> bytes:
        """Returns the file in gzip's format; raises a 404 where another one lies there meanwhile."""
        if self._work is None or (self._work.done() and self._work.exception()):
            self._work = asyncio.ensure_future(asyncio.to_thread(self._compress))
        return await asyncio.shield(self._work)  # others may wait for it, too

    def _compress(self) -> bytes:
        try:
            data = self._path.read_bytes()
        except OSError as error:
            raise HTTPException(404, f"the model file cannot be read any more: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != self._sha256:
            raise HTTPException(404, "the file holds another model now: start the server again")
        return gzip.compress(data, mtime=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """What the routes show: a model and, where there is one, a camera."""

    info: ModelInfo
    contract: Contract
    selftest: dict[str, Any]
    """Of the model file: what it must answer; empty where it carries none."""
    constant: Mapping[str, str]
    """The fields of every row: provider, and SHA-256 of the model."""
    threshold: float | None
    """Least familiarity of what is not neither; None where that is never the answer."""
    inference: InferenceQueue
    telemetry: Telemetry
    access: Access
    packed: PackedModel
    camera: WatchedSource | None
    review: Review | None
    """Collected images to be labelled, where there are any."""
    started: float
    """On the clock of `time.time`."""

    def row(self, result: FrameResult) -> dict[str, Any]:
        """Returns a result as the row that `catsdogs-cam --jsonl` writes."""
        return to_row(result, self.info.classes, self.constant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    handler: Handler
    summary: str
    """A sentence for the OpenAPI document."""
    tag: str
    answers: Mapping[int, str] = field(default_factory=lambda: {200: "application/json"})
    """Status codes with the media type of their bodies; empty for none."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the query, with what they are."""
    takes: tuple[str, ...] = ()
    """Media types of the body that it wants."""
    is_stream: bool = False
    """Whether it does not end by itself."""
    is_open: bool = False
    """Whether it is answered without a token: what it shows is no secret."""


def context(request: Request) -> ServerContext:
    """Returns what the server serves."""
    found: ServerContext = request.app.state.context
    return found


def camera(request: Request) -> WatchedSource:
    """Returns the camera; such routes are there only with one."""
    found = context(request).camera
    assert found is not None  # noqa: S101 - for mypy
    return found


def ascii_json(data: object) -> str:
    """Returns JSON for a header: classes may have any name, headers may not."""
    return json.dumps(data, ensure_ascii=True, separators=(",", ":"))


def whole_number(request: Request, name: str, default: int, most: int = 2**53) -> int:
    """Reads a parameter of the query; raises a 400 for what is no number from 0 to `most`."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 16 or int(text) > most:
        raise HTTPException(400, f"'{name}' is '{text[:40]}', expected a whole number up to {most}")
    return int(text)


async def until_gone(request: Request, work: Awaitable[_Result]) -> _Result | None:
    """Waits for some work; gives it up, and returns None, when the client has gone."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_wait_until_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for pending in (task, gone):
            pending.cancel()


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def explain(request: Request, error: Exception) -> Response:
    """Answers an HTTPException as JSON."""
    assert isinstance(error, HTTPException)  # noqa: S101 - for mypy
    return _refusal(request, error.detail, error.status_code, error.headers)


async def explain_error(request: Request, error: Exception) -> Response:
    """Answers what a user can mend, such as a GPU whose memory is full."""
    return _refusal(request, str(error), 503, {"retry-after": "10"})


async def explain_bug(request: Request, error: Exception) -> Response:
    """Answers what should not be, and says it in the log, where a bug keeps its traceback."""
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _refusal(request, "this is a bug in catsdogs: its log says more", 500)


def _refusal(request: Request, error: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    of_deepstack = {"success": False} if request.url.path.startswith("/v1/vision/") else {}
    return Json({**of_deepstack, "error": error}, status, headers)
