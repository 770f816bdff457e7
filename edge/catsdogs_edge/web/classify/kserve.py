"""Routes of the Open Inference Protocol, version 2, as KServe, Triton and OpenVINO Model Server speak it.

With Triton's binary extension (tensors as bytes behind a JSON header), and, as OpenVINO Model Server takes them,
encoded images as datatype BYTES in place of pixels: then decoding and resizing are the box's own. Sources:
https://github.com/kserve/open-inference-protocol and
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import struct
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import RgbBatch, load_bytes
from catsdogs_edge.model.scores import Outputs
from catsdogs_edge.output.json_text import from_json
from catsdogs_edge.web.body import read_body
from catsdogs_edge.web.camera.events import state_word
from catsdogs_edge.web.classify.images import MODEL_NAME
from catsdogs_edge.web.endpoint import Endpoint, Json, ServerContext, context

MOST_IMAGES = 64
"""In one request."""

_LONGEST_JSON = 8 * 2**20  # bytes, a dozen images as numbers: Python needs up to twenty times as much for it
_LENGTH_HEADER = "inference-header-content-length"
_VERSION = "1"


class _Parameters(msgspec.Struct):
    binary_data_size: int | None = None
    binary_data: bool | None = None
    binary_data_output: bool = False


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)
    data: Any = None


class _Output(msgspec.Struct):
    name: str
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str = ""
    outputs: list[_Output] = []
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


async def live(request: Request) -> Response:
    """Answers that the server runs."""
    return Json({"live": True})


async def ready(request: Request) -> Response:
    """Answers whether it can answer: the model is open, and the camera, if there is one, live."""
    is_ready, words = state_word(context(request))
    return Json({"ready": is_ready, **words}, 200 if is_ready else 503)


async def model_ready(request: Request) -> Response:
    """Answers that the model is open."""
    _check_model(request)
    return Json({"name": MODEL_NAME, "ready": True})


async def server_metadata(request: Request) -> Response:
    """Answers what this server is."""
    return Json({"name": "catsdogs", "version": version("catsdogs"), "extensions": ["binary_tensor_data"]})


async def model_metadata(request: Request) -> Response:
    """Answers which tensors the model takes and gives."""
    _check_model(request)
    contract = context(request).contract
    size, classes = contract.image_size, len(contract.classes)
    outputs = [
        {"name": name, "datatype": "FP32", "shape": [-1] if name == contract.familiarity_name else [-1, classes]}
        for name in contract.outputs
    ]
    inputs = [{"name": contract.input_name, "datatype": "UINT8", "shape": [-1, size, size, 3]}]
    return Json(
        {
            "name": MODEL_NAME,
            "versions": [_VERSION],
            "platform": "onnxruntime_onnx",
            "inputs": inputs,
            "outputs": outputs,
        }
    )


async def infer(request: Request) -> Response:
    """Runs the model on a batch."""
    _check_model(request)
    served = context(request)
    with served.inference.place():
        body = await read_body(request)
        return await served.inference.run(_infer, served, body, request.headers.get(_LENGTH_HEADER))


def _infer(served: ServerContext, body: bytes, header: str | None) -> Response:
    """Answers a request, in the thread of inferences: to read much JSON takes a while."""
    asked, rest = _parse(body, header)
    wanted = _wanted_outputs(asked, served.contract.outputs)
    outputs = served.inference.predict(_read_batch(asked, rest, served))
    for tensor in (outputs.logits, outputs.probabilities, outputs.familiarity):
        if tensor is not None and not np.isfinite(tensor).all():
            raise HTTPException(422, "the model's answer is not a finite number")
    return _answer(asked, wanted, outputs, served)


def _check_model(request: Request) -> None:
    name, number = request.path_params["name"], request.path_params.get("version", _VERSION)
    if (name, number) != (MODEL_NAME, _VERSION):
        raise HTTPException(404, f"there is no model '{name[:40]}' of version '{number[:10]}', only '{MODEL_NAME}', 1")


def _parse(body: bytes, header: str | None) -> tuple[_Request, bytes]:
    """Returns the JSON of a request, and the bytes behind it."""
    length = len(body)
    if header is not None:
        if not (header.isascii() and header.isdecimal() and len(header) < 10) or int(header) > length:
            raise HTTPException(400, f"{_LENGTH_HEADER} is '{header[:20]}', the body has {length} bytes")
        length = int(header)
    if length > _LONGEST_JSON:
        raise HTTPException(413, f"more than {_LONGEST_JSON >> 20} MB of JSON: send pixels as bytes behind it")
    try:
        return from_json(body[:length], _Request), body[length:]
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the request cannot be read: {error}") from error


def _wanted_outputs(asked: _Request, known: Sequence[str]) -> list[tuple[str, bool]]:
    """Returns the outputs that are asked for, and whether each goes as bytes."""
    for output in asked.outputs:
        if output.name not in known:
            raise HTTPException(400, f"there is no output '{output.name[:40]}', only {', '.join(known)}")
    outputs = asked.outputs or [_Output(name) for name in known]
    usual = asked.parameters.binary_data_output
    return [(item.name, usual if (own := item.parameters.binary_data) is None else own) for item in outputs]


def _read_batch(asked: _Request, rest: bytes, served: ServerContext) -> RgbBatch:
    """Returns the one input as uint8 RGB (N, S, S, 3)."""
    contract = served.contract
    if len(asked.inputs) != 1 or asked.inputs[0].name != contract.input_name:
        names = ", ".join(item.name[:40] for item in asked.inputs[:4])
        raise HTTPException(400, f"found the inputs '{names}', expected one, '{contract.input_name}'")
    (given,) = asked.inputs
    if (size := given.parameters.binary_data_size) is not None and size != len(rest):
        raise HTTPException(400, f"'{given.name}' promises {size} bytes, found {len(rest)}")
    if given.datatype == "BYTES":
        return _decode_files(given, rest, contract.image_size)
    edge = contract.image_size
    images = given.shape[0] if given.shape else 0
    if given.datatype != "UINT8" or given.shape[1:] != [edge, edge, 3] or not 1 <= images <= MOST_IMAGES:
        raise HTTPException(
            400,
            f"'{given.name}' is {given.datatype[:10]} of shape {given.shape[:6]}, expected UINT8 of shape "
            f"[N, {edge}, {edge}, 3], or BYTES with encoded images of shape [N], N up to {MOST_IMAGES}",
        )
    if given.parameters.binary_data_size is not None:
        pixels: NDArray[np.uint8] = np.frombuffer(rest, np.uint8)
    else:
        pixels = _numbers(given.data)
    if pixels.size != images * edge * edge * 3:
        raise HTTPException(400, f"'{given.name}' has {pixels.size} values, expected {images * edge * edge * 3}")
    return np.ascontiguousarray(pixels.reshape(images, edge, edge, 3))


def _numbers(data: Any) -> NDArray[np.uint8]:
    """Returns the numbers of nested lists."""
    while isinstance(data, list) and data and isinstance(data[0], list):
        if not all(isinstance(part, list) for part in data):
            raise HTTPException(400, "the data is no tensor: some parts are lists, and some are not")
        data = list(chain.from_iterable(data))
    if not isinstance(data, list) or not all(type(value) is int and 0 <= value <= 255 for value in data):
        raise HTTPException(400, "the data holds something else than whole numbers from 0 to 255")
    return np.array(data, np.uint8)


def _decode_files(given: _Input, rest: bytes, size: int) -> RgbBatch:
    count = int(np.prod(given.shape)) if given.shape and min(given.shape) > 0 and len(given.shape) <= 2 else 0
    files = list(_elements(rest))
    if not 1 <= count <= MOST_IMAGES or len(files) != count or given.parameters.binary_data_size is None:
        raise HTTPException(
            400,
            f"found {len(files)} encoded images for the shape {given.shape[:6]}, expected 1 to {MOST_IMAGES}, as bytes",
        )
    images = []
    for number, data in enumerate(files):
        try:
            images.append(load_bytes(data, size))
        except ImageError as error:
            raise HTTPException(400, f"image {number}: {error}") from error
    return np.stack(images)


def _elements(data: bytes) -> Iterator[bytes]:
    """Yields the elements of a BYTES tensor: each has its length before it, 4 bytes, little endian."""
    position = 0
    while position + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, position)
        position += 4
        if position + length > len(data):
            raise HTTPException(400, "an element of the BYTES tensor is not whole")
        yield data[position : position + length]
        position += length


def _answer(asked: _Request, wanted: Sequence[tuple[str, bool]], outputs: Outputs, served: ServerContext) -> Response:
    contract = served.contract
    tensors = {
        contract.logits_name: outputs.logits,
        contract.probabilities_name: outputs.probabilities,
        contract.familiarity_name: outputs.familiarity,
    }
    described, blobs = [], []
    for name, is_binary in wanted:
        tensor = tensors[name]
        assert tensor is not None  # noqa: S101 - for mypy; the contract names it only if there is one
        entry: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(tensor.shape)}
        if is_binary:
            blobs.append(tensor.astype("<f4").tobytes())
            entry["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            entry["data"] = tensor.ravel().tolist()
        described.append(entry)
    head = {"model_name": MODEL_NAME, "model_version": _VERSION, "outputs": described}
    answer = Json({**head, "id": asked.id} if asked.id else head)
    if not blobs:
        return answer
    text = bytes(answer.body)
    return Response(
        b"".join([text, *blobs]),
        media_type="application/octet-stream",
        headers={"Inference-Header-Content-Length": str(len(text))},
    )


def _endpoint(method: str, path: str, handler: Any, summary: str, *more: int) -> Endpoint:
    return Endpoint(
        method=method,
        path=path,
        handler=handler,
        summary=summary,
        tag="kserve",
        answers=dict.fromkeys((200, *more), "application/json"),
        takes=("application/json", "application/octet-stream") if method == "POST" else (),
    )


def _of_model(prefix: str) -> tuple[Endpoint, ...]:
    return (
        _endpoint("GET", prefix, model_metadata, "The tensors of the model.", 404),
        _endpoint("GET", f"{prefix}/ready", model_ready, "Whether the model is open.", 404),
        _endpoint("POST", f"{prefix}/infer", infer, "Run the model on a batch.", 400, 404, 408, 413, 422, 503),
    )


ENDPOINTS = (
    _endpoint("GET", "/v2", server_metadata, "What this server is."),
    _endpoint("GET", "/v2/health/live", live, "Whether the server runs."),
    _endpoint("GET", "/v2/health/ready", ready, "Whether it can answer now.", 503),
    *_of_model("/v2/models/{name}"),
    *_of_model("/v2/models/{name}/versions/{version}"),
)
