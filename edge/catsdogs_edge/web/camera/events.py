"""Routes for what has been seen: the state now, events, snapshots, the timeline."""

import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from catsdogs_edge.capture.frames import State, iso_time
from catsdogs_edge.images.jpeg import encode_jpeg
from catsdogs_edge.web.camera.history import MOST_EVENTS, SNAPSHOT_QUALITY, Event
from catsdogs_edge.web.endpoint import (
    Endpoint,
    Json,
    ServerContext,
    ViewerResponse,
    WatchedSource,
    ascii_json,
    camera,
    context,
    whole_number,
)

_PING = 15.0  # seconds between signs of life of a stream of events
_STEPS, _MOST_HOURS = 720, 24


async def state(request: Request) -> Response:
    """Answers with everything that is known now."""
    served = context(request)
    about: dict[str, Any] = {
        "model": {
            "name": served.info.path.name,
            "precision": served.info.precision.value,
            "provider": served.info.provider,
            "sha256": served.constant["model"],
            "classes": served.info.classes,
            "labels": served.info.labels,
            "threshold": served.threshold,
            "maps": served.info.has_maps,
        },
        "started": iso_time(served.started),
        "source": None,
    }
    if watched := served.camera:
        newest = watched.hub.newest
        found, reason = watched.hub.state()
        about |= {
            "source": watched.name,
            "state": found.value,
            "reason": reason or None,
            "row": served.row(newest.result) if newest else None,
            "fps": round(newest.result.fps, 1) if newest else 0.0,
            "viewers": watched.hub.viewers,
            "event": watched.history.last_id,
        }
    return Json(about)


async def events(request: Request) -> Response:
    """Answers with the newest events."""
    watched = camera(request)
    found = watched.history.events(
        whole_number(request, "after", 0), whole_number(request, "limit", MOST_EVENTS, MOST_EVENTS)
    )
    return Json({"events": [to_fields(watched, event) for event in found]})


async def event_image(request: Request) -> Response:
    """Answers with the image of an event."""
    history, number = camera(request).history, int(request.path_params["id"])
    image = history.image(number)
    event = next((event for event in history.events(number - 1) if event.id == number), None)
    if image is None or event is None or request.query_params.get("at", _moment(event)) != _moment(event):
        raise HTTPException(404, "there is no such image, or not any more")
    return Response(image, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400, immutable"})


async def event_stream(request: Request) -> Response:
    """Answers with events as they happen (server-sent events); `Last-Event-ID` goes on after that one."""
    watched = camera(request)
    last = request.headers.get("last-event-id", "")
    after = int(last) if last.isascii() and last.isdecimal() and len(last) < 16 else watched.history.last_id
    return ViewerResponse(watched.hub, _stream(watched, after), "text/event-stream")


async def _stream(watched: WatchedSource, after: int) -> AsyncIterator[str]:
    hub, sequence, said = watched.hub, 0, time.monotonic()
    yield ": catsdogs\n\n"
    while not hub.closing:
        for event in watched.history.events(after):
            after, said = event.id, time.monotonic()
            yield f"id: {event.id}\nevent: {event.kind.value}\ndata: {ascii_json(to_fields(watched, event))}\n\n"
        if time.monotonic() - said > _PING:
            said = time.monotonic()
            yield ": still here\n\n"
        newest = await hub.next(sequence, _PING)
        sequence = newest.sequence if newest else sequence


async def timeline(request: Request) -> Response:
    """Answers with what was to be seen in the last hours."""
    hours = whole_number(request, "hours", 6, _MOST_HOURS) or 1
    now = time.time()
    spans = camera(request).history.timeline(3600.0 * hours, now, _STEPS)
    named = [{"start": round(span.start, 1), "end": round(span.end, 1), "name": span.name or None} for span in spans]
    return Json({"start": now - 3600 * hours, "end": now, "spans": named})


async def keep_snapshot(request: Request) -> Response:
    """Keeps the newest frame as an event."""
    watched = camera(request)
    newest = watched.hub.current()
    if newest is None or newest.imaged is None or newest.imaged.rgb is None:
        raise HTTPException(503, "there is no frame yet", {"retry-after": "1"})
    inference = context(request).inference
    with inference.place():
        image = await inference.run(encode_jpeg, newest.imaged.rgb, SNAPSHOT_QUALITY)
    event = watched.history.add_snapshot(newest.result, image)
    return Json(to_fields(watched, event), 201)


def _moment(event: Event) -> str:
    """Returns what tells an event from another one of that number, before a restart."""
    return f"{event.time:.3f}"


def to_fields(watched: WatchedSource, event: Event) -> dict[str, Any]:
    """Returns an event for programs; `image` is relative to `api/v1/`, and of no other event, also after a restart."""
    return {
        "id": event.id,
        "time": iso_time(event.time),
        "kind": event.kind.value,
        "state": event.state.value,
        "label": event.label,
        "probability": event.probability,
        "familiarity": event.familiarity,
        "image": f"events/{event.id}.jpg?at={_moment(event)}" if watched.history.has_image(event.id) else None,
    }


def state_word(served: ServerContext) -> tuple[bool, dict[str, str]]:
    """Returns whether the box can answer about its camera now, and the words for that."""
    if served.camera is None:
        return True, {"status": "ready"}
    found, reason = served.camera.hub.state()
    if found is State.LIVE:
        return True, {"status": "ready", "state": found.value}
    return False, {"status": "not ready", "state": found.value, "reason": reason}


STATE = Endpoint(
    method="GET",
    path="/api/v1/state",
    handler=state,
    summary="Model, source, its state, and the newest row.",
    tag="state",
)

ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/v1/events",
        handler=events,
        summary="The newest changes of label and state, and snapshots; oldest first.",
        tag="events",
        query={"after": "Only those after this number.", "limit": f"That many at most, up to {MOST_EVENTS}."},
        answers={200: "application/json", 400: "application/json"},
    ),
    Endpoint(
        method="GET",
        path="/api/v1/events/stream",
        handler=event_stream,
        is_stream=True,
        summary="The same as they happen, as server-sent events; Last-Event-ID goes on after one.",
        tag="events",
        answers={200: "text/event-stream", 503: "application/json"},
    ),
    Endpoint(
        method="GET",
        path="/api/v1/events/{id:int}.jpg",
        handler=event_image,
        summary="The image of an event.",
        tag="events",
        query={"at": "Only that of the event of this time, as the list of events has it."},
        answers={200: "image/jpeg", 404: "application/json"},
    ),
    Endpoint(
        method="POST",
        path="/api/v1/snapshots",
        handler=keep_snapshot,
        summary="Keep the newest frame as an event.",
        tag="events",
        answers={201: "application/json", 503: "application/json"},
    ),
    Endpoint(
        method="GET",
        path="/api/v1/timeline",
        handler=timeline,
        summary="What was to be seen in the last hours: label, state, or null where nobody looked.",
        tag="events",
        query={"hours": f"How many, up to {_MOST_HOURS}."},
        answers={200: "application/json", 400: "application/json"},
    ),
)
