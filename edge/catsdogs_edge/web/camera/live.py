"""Routes for the live image: pulled frame by frame, or pushed as MJPEG."""

from collections.abc import AsyncIterator

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from catsdogs_edge.web.camera.hub import LONGEST_SHOWN, Hub, Newest
from catsdogs_edge.web.endpoint import (
    Endpoint,
    ServerContext,
    ViewerResponse,
    WatchedSource,
    ascii_json,
    camera,
    context,
    until_gone,
    whole_number,
)

_HOLD = 10.0  # seconds that a request for a newer frame waits
_UNWATCHED = 1.0  # seconds that it waits without looking whether the client is still there, which takes two tasks
_REPEAT = 1.0  # seconds until MJPEG sends the last frame again: browsers show one when the next one arrives
_BOUNDARY = "catsdogs-frame"
_WHY = {"why": "1: with what speaks for the answer in colour, where the model can say."}


def describe(served: ServerContext, watched: WatchedSource, newest: Newest) -> str:
    """Returns what a page shows beside a frame, as JSON in ASCII."""
    state, reason = watched.hub.state()
    return ascii_json(
        {
            "sequence": newest.sequence,
            "event": watched.history.last_id,
            "fps": round(newest.result.fps, 1),
            "lasted_s": watched.history.lasted,
            "state": state.value,
            "reason": reason or None,
            "row": served.row(newest.result),
            **_regions(newest),
        }
    )


def _regions(newest: Newest) -> dict[str, object]:
    """Returns where the regions of a frame lie, in its pixels, its width, and what they show; nothing without any."""
    rgb = newest.result.frame.rgb
    if rgb is None or not newest.result.regions:
        return {}
    height, width = rgb.shape[:2]
    parts = [(part, part.region) for part in newest.result.regions if part.region and part.region.fits(width, height)]
    return {
        "width": width,
        "regions": [
            {"name": region.name, "label": part.label or None, "box": region.box(width, height)}
            for part, region in parts
        ],
    }


async def frame(request: Request) -> Response:
    """Answers with another frame than the client has, once there is one; if there is none, with the state."""
    after, drawn = whole_number(request, "after", 0), whole_number(request, "drawn", 0, 1)
    why = whole_number(request, "why", 0, 1)
    watched = camera(request)
    hub = watched.hub
    with hub.viewer():
        newest = hub.newest  # often it is there already, and nobody need be waited for
        is_new = newest is not None and newest.sequence != after
        if not is_new:
            found = await hub.next(after, _UNWATCHED) or await until_gone(request, hub.next(after, _HOLD))
            is_new, newest = found is not None, found or hub.newest
        if newest is None:
            return Response(status_code=204)
        headers = {"X-Catsdogs": describe(context(request), watched, newest)}
        has_image = newest.result.frame.rgb is not None or (drawn and newest.imaged)
        if not is_new or not has_image:
            return Response(status_code=204, headers=headers)
        image = await hub.jpeg(newest, drawn=bool(drawn), why=bool(why))
        return Response(image, media_type="image/jpeg", headers=headers)


async def snapshot(request: Request) -> Response:
    """Answers with the newest frame at once."""
    drawn, why = whole_number(request, "drawn", 1, 1), whole_number(request, "why", 0, 1)
    small = whole_number(request, "small", 0, 1)
    hub = camera(request).hub
    newest = hub.current()
    if newest is None or newest.imaged is None:
        raise HTTPException(503, "there is no frame yet", {"retry-after": "1"})
    return Response(await hub.jpeg(newest, drawn=bool(drawn), why=bool(why), whole=not small), media_type="image/jpeg")


async def stream(request: Request) -> Response:
    """Answers with frames until the client has gone."""
    drawn = whole_number(request, "drawn", 1, 1)
    hub = camera(request).hub
    return ViewerResponse(hub, _frames(hub, drawn=bool(drawn)), f"multipart/x-mixed-replace; boundary={_BOUNDARY}")


async def _frames(hub: Hub, *, drawn: bool) -> AsyncIterator[bytes]:
    sequence, image = 0, b""
    while not hub.closing:
        newest = await hub.next(sequence, _REPEAT) or hub.current()
        if newest is not None and newest.imaged is not None:
            sequence = abs(newest.sequence)
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
        summary="The newest frame whose number is not `after`; waits for one. What is seen is JSON in X-Catsdogs. "
        f"A frame with an edge of more than {LONGEST_SHOWN} pixels is shrunk to that.",
        tag="live",
        query={
            "after": "Number of the last frame that the client has.",
            "drawn": "1: with the answer drawn on it.",
            "why": "1: with what speaks for the answer in colour.",
        },
        answers={200: "image/jpeg", 204: "", 400: "application/json", 503: "application/json"},
    ),
    Endpoint(
        method="GET",
        path="/stream.mjpg",
        handler=stream,
        summary="Frames as MJPEG, for programs that can do nothing else.",
        is_stream=True,
        tag="live",
        query={"drawn": "0: without the answer drawn on it."},
        answers={200: "multipart/x-mixed-replace", 400: "application/json", 503: "application/json"},
    ),
    Endpoint(
        method="GET",
        path="/snapshot.jpg",
        handler=snapshot,
        summary="The newest frame, at once, in its full size.",
        tag="live",
        query={"drawn": "0: without the answer drawn on it.", "small": "1: shrunk as `frame.jpg` is.", **_WHY},
        answers={200: "image/jpeg", 400: "application/json", 503: "application/json"},
    ),
)
