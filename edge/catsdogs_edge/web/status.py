"""Routes about the server itself: health, metrics, the model, who is logged in, the OpenAPI document."""

import asyncio
import gzip
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from catsdogs_edge.web.camera.events import state_word
from catsdogs_edge.web.endpoint import Endpoint, Json, context
from catsdogs_edge.web.guard import COOKIE, cookie_name, session

_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}


async def healthz(request: Request) -> Response:
    """Answers that the server runs."""
    return Json({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Answers whether the model is open and the camera, if there is one, live."""
    is_ready, words = state_word(context(request))
    return Json(words, 200 if is_ready else 503)


async def metrics(request: Request) -> Response:
    """Answers with all metrics for Prometheus."""
    text, media_type = context(request).telemetry.render()
    return Response(text, headers={"content-type": media_type})


async def model(request: Request) -> Response:
    """Answers with what the model file says of itself."""
    served = context(request)
    sha256 = served.constant["model"]
    return Json(
        {
            "contract": msgspec.to_builtins(served.contract),
            "selftest": served.selftest or None,
            "threshold": served.threshold,
            "sha256": sha256,
            "bytes": served.packed.size,
            "url": f"model/{sha256}.onnx",
        }
    )


async def model_file(request: Request) -> Response:
    """Answers with the model file, compressed where the client takes that: a fifth less on a slow line."""
    served = context(request)
    if request.path_params["sha256"] != served.constant["model"]:
        raise HTTPException(404, "there is another model now")
    headers = {"cache-control": "private, max-age=31536000, immutable", "vary": "accept-encoding"}
    data = await served.packed.get()
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
    else:
        data = await asyncio.to_thread(gzip.decompress, data)
    return Response(data, media_type="application/octet-stream", headers=headers)


async def log_in(request: Request) -> Response:
    """Gives a browser that has shown the token a cookie, so that it need not keep the token itself."""
    answer = Response(status_code=204)
    token, is_secret = context(request).access.token, request.url.scheme == "https"
    answer.set_cookie(cookie_name(token), session(token), httponly=True, samesite="strict", secure=is_secret, path="/")
    return answer


async def log_out(request: Request) -> Response:
    """Takes the cookie away."""
    answer = Response(status_code=204)
    for name in request.cookies:  # those that it shows, and no other: the name says something about the token
        if name.startswith(COOKIE):
            answer.delete_cookie(name, httponly=True, samesite="strict", path="/")
    return answer


async def openapi(request: Request) -> Response:
    """Answers with the OpenAPI document of exactly the routes that are there."""
    return Json(describe(request.app.state.endpoints))


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Returns the OpenAPI 3.1 document of some routes."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(openapi_path(endpoint.path), {})[endpoint.method.lower()] = _operation(endpoint)
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic", "description": "The token as password, any user."},
        "cookie": {"type": "apiKey", "in": "cookie", "name": f"{COOKIE}_..."},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "catsdogs",
            "version": version("catsdogs"),
            "description": "Classifies images, and shows what a camera sees.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "./"}],
        "paths": paths,
        "components": {"securitySchemes": schemes, "schemas": {"Error": _ERROR}},
    }


def openapi_path(path: str) -> str:
    """Returns a path of Starlette as OpenAPI writes it: without the types of its parameters."""
    return path.replace(":int}", "}")


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, media_type in endpoint.answers.items():
        answer: dict[str, Any] = {"description": "As asked." if status < 300 else "Why not, as JSON."}
        if media_type:
            schema = {"$ref": "#/components/schemas/Error"} if status >= 400 else {}
            answer["content"] = {media_type: {"schema": schema}}
        answers[str(status)] = answer
    path_parameters = [part.partition("}")[0] for part in openapi_path(endpoint.path).split("{")[1:]]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in path_parameters
    ]
    parameters += [
        {"name": name, "in": "query", "description": text, "schema": {"type": "integer", "minimum": 0}}
        for name, text in endpoint.query.items()
    ]
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "operationId": f"{endpoint.method.lower()}_{endpoint.path}",
        "parameters": parameters,
        "responses": answers,
        "security": [] if endpoint.is_open else [{"bearer": []}, {"basic": []}, {"cookie": []}, {}],
    }
    if endpoint.takes:
        form = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        content = {kind: {"schema": form if kind.startswith("multipart") else {}} for kind in endpoint.takes}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


ENDPOINTS = (
    Endpoint(
        method="GET", path="/healthz", handler=healthz, summary="Whether the server runs.", tag="status", is_open=True
    ),
    Endpoint(
        method="GET",
        path="/readyz",
        handler=readyz,
        summary="Whether the model is open and the source live; else state and reason.",
        tag="status",
        answers={200: "application/json", 503: "application/json"},
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        handler=metrics,
        summary="Metrics for Prometheus.",
        tag="status",
        answers={200: "text/plain"},
    ),
    Endpoint(
        method="GET",
        path="/api/v1/model",
        handler=model,
        summary="What the model file says of itself: its contract and its self-test.",
        tag="model",
    ),
    Endpoint(
        method="GET",
        path="/model/{sha256}.onnx",
        handler=model_file,
        summary="The model file, by its SHA-256.",
        tag="model",
        answers={200: "application/octet-stream", 404: "application/json"},
    ),
    Endpoint(
        method="POST",
        path="/api/v1/session",
        handler=log_in,
        summary="Take a cookie, once the token was shown as 'Authorization: Bearer TOKEN'.",
        tag="session",
        answers={204: ""},
    ),
    Endpoint(
        method="POST",
        path="/api/v1/session/end",
        handler=log_out,
        summary="Give the cookie back.",
        tag="session",
        answers={204: ""},
        is_open=True,
    ),
    Endpoint(
        method="GET",
        path="/openapi.json",
        handler=openapi,
        summary="This document.",
        tag="status",
        is_open=True,
    ),
)
