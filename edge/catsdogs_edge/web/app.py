"""Puts the routes together."""

import time
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, compile_path

from catsdogs_edge.collection.review import Review
from catsdogs_edge.errors import CatsDogsError, ModelError
from catsdogs_edge.model import selftest
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.output.json_text import from_json
from catsdogs_edge.web import pages, review, status
from catsdogs_edge.web.camera import events, live
from catsdogs_edge.web.camera.hub import TooManyViewersError
from catsdogs_edge.web.classify import images, kserve
from catsdogs_edge.web.classify.inference import BusyError, InferenceQueue
from catsdogs_edge.web.endpoint import (
    Endpoint,
    PackedModel,
    ServerContext,
    WatchedSource,
    explain,
    explain_bug,
    explain_error,
)
from catsdogs_edge.web.guard import Guard, refuse
from catsdogs_edge.web.options import Access
from catsdogs_edge.web.telemetry import Telemetry


def make_context(
    classifier: Classifier, model: Path, access: Access, camera: WatchedSource | None, review: Review | None = None
) -> ServerContext:
    """Puts together what the routes show; `model` is the file of the classifier."""
    info = ModelInfo.from_classifier(classifier, model)
    constant = info.row_fields()
    entry = classifier.metadata.get(selftest.SELFTEST_KEY)
    try:
        test = from_json(entry, dict[str, Any]) if entry else {}
    except ValueError as error:
        raise ModelError(f"{model}: its own test is damaged ({error}): export it again") from error
    return ServerContext(
        info=info,
        contract=classifier.contract,
        selftest=test,
        constant=constant,
        threshold=classifier.threshold,
        inference=InferenceQueue(classifier),
        telemetry=Telemetry(info, camera.hub if camera else None),
        access=access,
        packed=PackedModel(model, constant["model"]),
        camera=camera,
        review=review,
        started=time.time(),
    )


def find_endpoints(*, has_camera: bool, has_review: bool = False) -> tuple[Endpoint, ...]:
    """Returns the routes; those of a camera, or of images to be labelled, only with them."""
    of_camera = (*live.ENDPOINTS, *events.ENDPOINTS) if has_camera else ()
    of_review = review.ENDPOINTS if has_review else ()
    # Frames first, because they are asked for most
    return (
        *of_camera,
        *of_review,
        *pages.ENDPOINTS,
        events.STATE,
        *images.ENDPOINTS,
        *kserve.ENDPOINTS,
        *status.ENDPOINTS,
    )


def make_app(context: ServerContext) -> Starlette:
    """Makes the ASGI application."""
    endpoints = find_endpoints(has_camera=context.camera is not None, has_review=context.review is not None)
    open_paths = tuple(compile_path(endpoint.path)[0] for endpoint in endpoints if endpoint.is_open)
    routes = [Route(each.path, each.handler, methods=[each.method]) for each in endpoints]
    for each, route in zip(endpoints, routes, strict=True):
        if each.is_stream and route.methods:
            route.methods.discard("HEAD")  # Starlette adds it, and would stream into nothing
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, access=context.access, telemetry=context.telemetry, open_paths=open_paths)],
        exception_handlers={
            HTTPException: explain,
            CatsDogsError: explain_error,
            BusyError: _explain_busy,
            TooManyViewersError: _explain_busy,
            Exception: explain_bug,
        },
    )
    app.router.redirect_slashes = False  # its redirects are absolute: wrong behind a proxy
    app.state.context = context
    app.state.endpoints = endpoints
    return app


async def _explain_busy(request: Request, error: Exception) -> Response:
    what = "requests wait" if isinstance(error, BusyError) else "viewers watch"
    return refuse(503, f"as many {what} as may: try again", {"retry-after": "1"})
