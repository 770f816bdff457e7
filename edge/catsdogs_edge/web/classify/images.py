"""Routes that classify an image: ours, and the one of DeepStack, which home automation knows."""

import math
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from catsdogs_edge.model.contract import NEITHER
from catsdogs_edge.model.prediction import file_fields
from catsdogs_edge.output.rows import SCHEMA
from catsdogs_edge.web.body import read_image
from catsdogs_edge.web.endpoint import Endpoint, Json, context

MODEL_NAME = "catsdogs"

_REFUSED = dict.fromkeys((400, 408, 413, 422, 503), "application/json")
_IMAGES = ("image/*", "application/octet-stream", "multipart/form-data")


async def classify(request: Request) -> Response:
    """Answers with the row that `catsdogs-classify --jsonl` writes for a file."""
    served = context(request)
    with served.inference.place():
        data, name = await read_image(request, ("file", "image"))
        answer = await served.inference.run(served.inference.classify, data)
    row = file_fields(name, answer.prediction, answer.error, served.info.classes)
    return Json({**row, "schema": SCHEMA, **served.constant}, 200 if answer.prediction else 422)


async def deepstack(request: Request) -> Response:
    """Answers as DeepStack and CodeProject.AI do for a model of the user's: objects with their boxes.

    What is seen is the whole image, so that is its box; neither is no object.
    """
    served, started = context(request), time.perf_counter()
    if request.path_params["name"] != MODEL_NAME:
        raise HTTPException(404, f"there is no model '{request.path_params['name'][:40]}', only '{MODEL_NAME}'")
    with served.inference.place():
        data, _ = await read_image(request, ("image", "file"))
        least = _least_confidence(request)
        answer = await served.inference.run(served.inference.classify, data)
    milliseconds = round(1000 * (time.perf_counter() - started))
    prediction = answer.prediction
    if prediction is None:
        return Json({"success": False, "error": answer.error, "duration": milliseconds}, 422)
    found: list[dict[str, Any]] = []
    if prediction.label != NEITHER and prediction.probability >= least:
        edges = {"x_min": 0, "y_min": 0, "x_max": answer.width, "y_max": answer.height}
        found = [{"label": prediction.label, "confidence": round(prediction.probability, 6), **edges}]
    return Json(
        {
            "success": True,
            "code": 200,
            "message": "",
            "predictions": found,
            "count": len(found),
            "duration": milliseconds,
        }
    )


def _least_confidence(request: Request) -> float:
    """Returns the `min_confidence` of a form, 0 to 1; 0 where it has none."""
    given = getattr(request.state, "fields", {}).get("min_confidence", "0")
    try:
        least = float(given or 0)
    except ValueError:
        least = math.nan
    if math.isnan(least):
        raise HTTPException(400, f"min_confidence is '{given[:20]}', expected a number from 0 to 1")
    return least


async def deepstack_models(request: Request) -> Response:
    """Answers which models there are, as DeepStack and CodeProject.AI do."""
    return Json({"success": True, "models": [MODEL_NAME]})


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/api/v1/classify",
        handler=classify,
        summary="Classify an image, as the body or as the file of a form: the row that catsdogs-classify writes.",
        tag="classify",
        takes=_IMAGES,
        answers={200: "application/json", **_REFUSED},
    ),
    Endpoint(
        method="POST",
        path="/v1/vision/custom/list",
        handler=deepstack_models,
        summary="The models, in the words of DeepStack.",
        tag="deepstack",
    ),
    Endpoint(
        method="POST",
        path="/v1/vision/custom/{name}",
        handler=deepstack,
        summary="Classify the 'image' of a form, in the words of DeepStack.",
        tag="deepstack",
        takes=_IMAGES,
        answers={200: "application/json", 404: "application/json", **_REFUSED},
    ),
)
