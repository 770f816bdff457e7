"""Routes of `catsdogs-review`: collected images, what is said of them, and what is done when it is confirmed."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from catsdogs_edge.collection.folder import Collected
from catsdogs_edge.collection.review import DELETE, UNSURE, Review
from catsdogs_edge.errors import ImageError
from catsdogs_edge.model.contract import NEITHER
from catsdogs_edge.web.body import read_body
from catsdogs_edge.web.endpoint import Endpoint, Json, context

_REFUSED = dict.fromkeys((400, 413, 503), "application/json")
_MOST_NAMES = 10_000


class _Said(msgspec.Struct):
    names: list[str]
    label: str | None


async def images(request: Request) -> Response:
    """Answers with all images that are there, in bursts, and what was said of them."""
    review = _review(request)
    bursts = await asyncio.to_thread(review.bursts)
    return Json(
        {
            "classes": review.classes,
            "neither": NEITHER,
            "unsure": UNSURE,
            "delete": DELETE,
            "folder": str(review.folder),
            "out": str(review.out),
            "bursts": [
                {
                    "source": burst[0].place[0] or None,
                    "region": burst[0].place[1] or None,
                    "images": [_describe(item, review) for item in burst],
                }
                for burst in bursts
            ],
        }
    )


def _describe(item: Collected, review: Review) -> dict[str, Any]:
    row = item.row
    names = ("label", "probability", "familiarity", "reason")
    about = {"name": item.path.name, "time": item.time, "said": review.label_of(item.path.name)}
    return about | {name: row.get(name) for name in names}


async def say(request: Request) -> Response:
    """Remembers what somebody says of some images, before it answers."""
    review = _review(request)
    try:
        said = msgspec.json.decode(await read_body(request), type=_Said)
        if len(said.names) > _MOST_NAMES:
            raise ValueError(f"{len(said.names)} names, expected {_MOST_NAMES} at most")
        count = await asyncio.to_thread(review.say, said.names, said.label)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    return Json({"said": count})


async def confirm(request: Request) -> Response:
    """Moves what has a label, removes what is to go, and answers what was done."""
    done = await asyncio.to_thread(_review(request).confirm)
    return Json({"moved": done.moved, "deleted": done.deleted, "gone": done.gone})


async def image(request: Request) -> Response:
    """Answers with a collected image."""
    return FileResponse(_path(request), media_type="image/jpeg", headers={"cache-control": "private, max-age=86400"})


async def image_map(request: Request) -> Response:
    """Answers with what speaks, in a collected image, for the answer of the model that is loaded now."""
    path, inference = _path(request), context(request).inference
    with inference.place():
        try:
            data = await inference.run(lambda: inference.explain(path.read_bytes()))
        except (ImageError, OSError) as error:
            raise HTTPException(404, "that image cannot be read any more") from error
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _review(request: Request) -> Review:
    found = context(request).review
    assert found is not None  # noqa: S101 - for mypy
    return found


def _path(request: Request) -> Path:
    path = _review(request).path_of(request.path_params["name"])
    if path is None:
        raise HTTPException(404, "there is no such image: it was labelled, or had to make room")
    return path


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/api/v1/review",
        handler=images,
        summary="All images, in bursts, with the model's answers and what was said of them.",
        tag="review",
    ),
    Endpoint(
        method="POST",
        path="/api/v1/review/labels",
        handler=say,
        summary="Say what some images show: {names, label}; null takes it back. On the disk before it is answered.",
        tag="review",
        takes=("application/json",),
        answers={200: "application/json", **_REFUSED},
    ),
    Endpoint(
        method="POST",
        path="/api/v1/review/confirm",
        handler=confirm,
        summary="Move what has a label into its folder, and remove what is to go.",
        tag="review",
    ),
    Endpoint(
        method="GET",
        path="/review/{name}",
        handler=image,
        summary="A collected image.",
        tag="review",
        answers={200: "image/jpeg", 404: "application/json"},
    ),
    Endpoint(
        method="GET",
        path="/review/{name}/map",
        handler=image_map,
        summary="The same with what speaks for the model's answer in colour.",
        tag="review",
        answers={200: "image/jpeg", 404: "application/json", 503: "application/json"},
    ),
)
