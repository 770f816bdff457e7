"""Routes for the live image: pulled frame by frame, or pushed as MJPEG."""

import time
from collections.abc import AsyncIterator

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from catsdogs_edge.web.endpoint import Box, Camera, Endpoint, ascii_json, box, camera, until_gone, whole_number
from catsdogs_edge.web.hub import Newest

_HOLD = 10.0  # seconds that a request for a newer frame waits
_REPEAT = 1.0  # seconds until MJPEG sends the last frame again: browsers show one when the next one arrives
_BOUNDARY = "catsdogs-frame"


def describe(shown: Box, watched: Camera, newest: Newest) -> str:
    """Returns what a page shows beside a frame, as JSON in ASCII."""
    return ascii_json(
        {
            "sequence": newest.sequence,
            "event": watched.history.last_id,
            "fps": round(newest.result.fps, 1),
            "now": round(time.time(), 3),
            "since": watched.history.since,
            "row": shown.row(newest.result),
        }
    )


async def frame(request: Request) -> Response:
    """Answers with the newest frame after a number, once there is one."""
    after, drawn = whole_number(request, "after", 0), whole_number(request, "drawn", 0, 1)
    watched = camera(request)
    hub = watched.hub
    with hub.viewer():
        newest = hub.newest  # often it is there already, and nobody need be waited for
        if newest is None or newest.sequence == after:
            newest = await until_gone(request, hub.next(after, _HOLD))
        if newest is None:
            return Response(status_code=204)
        headers = {"X-Catsdogs": describe(box(request), watched, newest)}
        if newest.imaged is None or (newest.result.frame.rgb is None and not drawn):
            return Response(status_code=204, headers=headers)
        return Response(await hub.jpeg(newest, drawn=bool(drawn)), media_type="image/jpeg", headers=headers)


async def snapshot(request: Request) -> Response:
    """Answers with the newest frame at once."""
    drawn = whole_number(request, "drawn", 1, 1)
    hub = camera(request).hub
    newest = hub.newest
    if newest is None or newest.imaged is None:
        raise HTTPException(503, "there is no frame yet", {"retry-after": "1"})
    return Response(await hub.jpeg(newest, drawn=bool(drawn)), media_type="image/jpeg")


async def stream(request: Request) -> Response:
    """Answers with frames until the client has gone."""
    drawn = whole_number(request, "drawn", 1, 1)
    watched = camera(request)
    with watched.hub.viewer():  # refuses before the answer begins
        pass
    media_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
    return StreamingResponse(
        _frames(watched, drawn=bool(drawn)), media_type=media_type, headers={"x-accel-buffering": "no"}
    )


async def _frames(watched: Camera, *, drawn: bool) -> AsyncIterator[bytes]:
    hub = watched.hub
    sequence, image = 0, b""
    with hub.viewer():
        while not hub.closing:
            newest = await hub.next(sequence, _REPEAT)
            if newest is not None and newest.imaged is not None:
                sequence = newest.sequence
                if drawn or newest.result.frame.rgb is not None:
                    image = await hub.jpeg(newest, drawn=drawn)
            if image and not hub.closing:
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
                yield head.encode() + image + b"\r\n"


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/frame.jpg",
        handler=frame,
        summary="The newest frame, held until there is one after a number; what is seen in it as JSON in X-Catsdogs.",
        tag="live",
        query={"after": "Number of the last frame that the client has.", "drawn": "1: with the answer drawn on it."},
        answers={200: "image/jpeg", 204: "", 400: "application/json", 503: "application/json"},
    ),
    Endpoint(
        method="GET",
        path="/stream.mjpg",
        handler=stream,
        summary="Frames as MJPEG, for programs that can do nothing else.",
        tag="live",
        query={"drawn": "0: without the answer drawn on it."},
        answers={200: "multipart/x-mixed-replace", 400: "application/json", 503: "application/json"},
    ),
    Endpoint(
        method="GET",
        path="/snapshot.jpg",
        handler=snapshot,
        summary="The newest frame, at once.",
        tag="live",
        query={"drawn": "0: without the answer drawn on it."},
        answers={200: "image/jpeg", 400: "application/json", 503: "application/json"},
    ),
)
