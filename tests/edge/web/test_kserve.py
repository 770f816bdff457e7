import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest

from catsdogs_edge.images.decode import load_bytes
from catsdogs_edge.model.classifier import Classifier
from tests.edge.conftest import BLUE, RED, encode, plain
from tests.edge.web.conftest import noisy

INFER = "v2/models/catsdogs/infer"


def batch_of(classifier: Classifier, count: int) -> np.ndarray:
    size = classifier.contract.image_size
    return np.stack([noisy("cat" if number % 2 else "dog", number, size, size) for number in range(count)])


def tensor(pixels: np.ndarray, **more: Any) -> dict[str, Any]:
    return {"name": "image", "shape": list(pixels.shape), "datatype": "UINT8", **more}


def binary(head: dict[str, Any], rest: bytes) -> tuple[bytes, dict[str, str]]:
    text = json.dumps(head).encode()
    return text + rest, {"Inference-Header-Content-Length": str(len(text))}


def test_it_says_what_it_is(plain_client: httpx.Client, classifier: Classifier) -> None:
    assert plain_client.get("v2").json()["extensions"] == ["binary_tensor_data"]
    assert plain_client.get("v2/health/live").json() == {"live": True}
    assert plain_client.get("v2/health/ready").json()["ready"] is True
    about = plain_client.get("v2/models/catsdogs").json()
    size = classifier.contract.image_size
    assert about["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, size, size, 3]}]
    assert {output["name"]: output["shape"] for output in about["outputs"]} == {
        "logits": [-1, 2], "probabilities": [-1, 2], "familiarity": [-1],
    }  # fmt: skip
    assert plain_client.get("v2/models/catsdogs/versions/1/ready").status_code == 200
    for path in ("v2/models/other", "v2/models/catsdogs/versions/2"):
        assert plain_client.get(path).status_code == 404


@pytest.mark.parametrize("count", [1, 5])
def test_a_batch_gets_the_classifier_s_own_numbers(
    count: int, plain_client: httpx.Client, classifier: Classifier
) -> None:
    pixels = batch_of(classifier, count)
    expected = classifier.predict(pixels)
    as_json = plain_client.post(INFER, json={"id": "7", "inputs": [tensor(pixels, data=pixels.tolist())]}).json()
    assert as_json["id"] == "7"
    found = {output["name"]: np.array(output["data"], np.float32) for output in as_json["outputs"]}
    assert (found["logits"].reshape(count, 2) == expected.logits).all()
    wanted = [{"name": "familiarity", "parameters": {"binary_data": True}}, {"name": "logits"}]
    head = {"inputs": [tensor(pixels, parameters={"binary_data_size": pixels.size})], "outputs": wanted}
    body, headers = binary(head, pixels.tobytes())
    answer = plain_client.post(INFER, content=body, headers=headers)
    length = int(answer.headers["inference-header-content-length"])
    outputs = json.loads(answer.content[:length])["outputs"]
    assert [output["name"] for output in outputs] == ["familiarity", "logits"]
    assert expected.familiarity is not None
    assert answer.content[length:] == expected.familiarity.tobytes()
    assert outputs[1]["data"] == expected.logits.ravel().tolist()


def test_encoded_images_are_decoded_by_the_box(plain_client: httpx.Client, classifier: Classifier) -> None:
    files = [encode(plain(RED), ".jpg"), encode(plain(BLUE))]
    rest = b"".join(struct.pack("<I", len(file)) + file for file in files)
    given = {"name": "image", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(rest)}}
    body, headers = binary({"inputs": [given], "outputs": [{"name": "logits"}]}, rest)
    (output,) = plain_client.post(INFER, content=body, headers=headers).json()["outputs"]
    pixels = np.stack([load_bytes(file, classifier.contract.image_size) for file in files])
    assert output["data"] == classifier.predict(pixels).logits.ravel().tolist()


def test_what_cannot_be_is_one_line(plain_client: httpx.Client, classifier: Classifier) -> None:
    pixels = batch_of(classifier, 1)
    good = tensor(pixels, data=pixels.tolist())
    bad: list[Any] = [
        {},
        {"inputs": []},
        {"inputs": [good, good]},
        {"inputs": [{**good, "name": "x"}]},
        {"inputs": [{**good, "datatype": "FP32"}]},
        {"inputs": [{**good, "shape": [2, *pixels.shape[1:]]}]},
        {"inputs": [{**good, "shape": [10**9, *pixels.shape[1:]]}]},
        {"inputs": [{**good, "shape": []}]},
        {"inputs": [{**good, "data": [300] * pixels.size}]},
        {"inputs": [{**good, "data": [0.5] * pixels.size}]},
        {"inputs": [{**good, "data": [[1], [1, 2]]}]},
        {"inputs": [{**good, "data": [[1], 2]}]},
        {"inputs": [{**good, "data": [True] * pixels.size}]},
        {"inputs": [{**good, "data": ["a" * 2000, *[""] * 100_000]}]},
        {"inputs": [{**good, "data": "text"}]},
        {"inputs": [{**good, "data": None}]},
        {"inputs": [{**good, "parameters": {"binary_data_size": 5}}]},
        {"inputs": [{**good, "datatype": "BYTES", "shape": [1]}]},
        {"inputs": [good], "outputs": [{"name": "x"}]},
        [],
    ]
    for request in bad:
        answer = plain_client.post(INFER, json=request)
        assert answer.status_code == 400, request if len(str(request)) < 200 else list(request)
        assert set(answer.json()) == {"error"}
    odd = rb'{"id": "\ud800", "inputs": [], "outputs": [{"name": "\ud800"}]}'
    for content, length in (
        (odd, None),
        (b"{", None),
        (b"\xff", None),
        (b"{}", "3"),
        (b"{}", "-1"),
        (b"[" * 100_000, None),
    ):
        headers = {"Inference-Header-Content-Length": length} if length else {}
        assert plain_client.post(INFER, content=content, headers=headers).status_code == 400
    head = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 9}}]}
    for rest in (b"\x05\0\0\0abcde", b"\xff\0\0\0abcde"):
        body, headers = binary(head, rest)
        assert plain_client.post(INFER, content=body, headers=headers).status_code == 400


def test_what_is_said_of_an_output_goes_before_what_is_said_of_all(
    plain_client: httpx.Client, classifier: Classifier
) -> None:
    wanted = [{"name": "probabilities", "parameters": {"binary_data": False}}]
    pixels = batch_of(classifier, 1)
    inputs = [tensor(pixels, data=pixels.ravel().tolist())]
    asked = {"inputs": inputs, "outputs": wanted, "parameters": {"binary_data_output": True}}
    answer = plain_client.post("v2/models/catsdogs/infer", json=asked).json()
    assert len(answer["outputs"][0]["data"]) == 2
