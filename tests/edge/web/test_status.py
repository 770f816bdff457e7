import gzip
import hashlib
import json
import random
import shutil
import string
import subprocess
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.web.app import find_endpoints
from catsdogs_edge.web.status import describe, openapi_path
from tests.edge.web.conftest import FakeCamera, open_server


def values(client: httpx.Client) -> dict[tuple[str, str], float]:
    """All samples, by name and labels."""
    text = client.get("metrics").text
    return {
        (sample.name, json.dumps(sample.labels, sort_keys=True)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_what_happens(camera: FakeCamera, client: httpx.Client) -> None:
    for label in ("cat", "cat", "dog"):
        camera.show(label)
    camera.lose()
    client.get("frame.jpg?drawn=1")
    client.get("nothing/here")
    found = values(client)
    expected = {
        ("catsdogs_frames_total", '{"result": "classified"}'): 3,
        ("catsdogs_frames_total", '{"result": "dropped"}'): 0,
        ("catsdogs_labels_total", '{"label": "cat"}'): 2,
        ("catsdogs_labels_total", '{"label": "neither"}'): 0,
        ("catsdogs_events_total", '{"label": "lost"}'): 1,
        ("catsdogs_source_state", '{"state": "lost"}'): 1,
        ("catsdogs_source_state", '{"state": "live"}'): 0,
        ("catsdogs_encodes_total", "{}"): 1,
        ("catsdogs_viewers", "{}"): 0,
        ("catsdogs_inference_seconds_count", "{}"): 3,
        ("catsdogs_inference_seconds_bucket", '{"le": "+Inf"}'): 3,
        ("catsdogs_http_requests_total", '{"code": "200", "route": "/frame.jpg"}'): 1,
        ("catsdogs_http_requests_total", '{"code": "404", "route": "other"}'): 1,
    }
    assert {key: found[key] for key in expected} == expected
    assert found["catsdogs_last_frame_timestamp_seconds", "{}"] > 1e9
    assert any(name == "process_resident_memory_bytes" for name, _ in found)


def test_a_still_scene_is_fresh(camera: FakeCamera, client: httpx.Client) -> None:
    camera.show("cat")
    before = values(client)["catsdogs_last_frame_timestamp_seconds", "{}"]
    camera.stay()
    found = values(client)
    assert found["catsdogs_last_frame_timestamp_seconds", "{}"] > before
    assert found["catsdogs_frames_total", '{"result": "classified"}'] == 1
    assert found["catsdogs_frames_total", '{"result": "still"}'] == 1


def test_paths_that_nobody_serves_are_one_series(plain_client: httpx.Client) -> None:
    def series() -> int:
        return sum(name == "catsdogs_http_requests_total" for name, _ in values(plain_client))

    plain_client.get("other")
    plain_client.get("metrics")
    before = series()
    letters = random.Random(0)  # noqa: S311 - no secret
    for _ in range(1000):
        path = "".join(letters.choices(string.ascii_letters + "/%{}", k=12)).lstrip("/")
        assert plain_client.get(path.replace("%", "%25")).status_code == 404
    assert series() == before


@pytest.mark.slow
def test_promtool_has_nothing_to_say(camera: FakeCamera, client: httpx.Client) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (on Debian: apt install prometheus)")
    camera.show("cat")
    text = client.get("metrics").content
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_the_document_lists_the_routes_and_nothing_else(camera: FakeCamera, client: httpx.Client) -> None:
    document = client.get("openapi.json").json()
    listed = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert listed == {(each.method, openapi_path(each.path)) for each in find_endpoints(has_camera=True)}
    identifiers = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("has_camera", [True, False])
def test_the_document_is_valid(has_camera: bool) -> None:
    validate = pytest.importorskip("openapi_spec_validator").validate
    validate(describe(find_endpoints(has_camera=has_camera)))


def test_the_model_says_what_it_is_and_can_be_had(plain_client: httpx.Client, familiar: Path) -> None:
    about = plain_client.get("api/v1/model").json()
    digest = hashlib.sha256(familiar.read_bytes()).hexdigest()
    assert about["sha256"] == digest
    assert about["contract"]["classes"] == ["cat", "dog"]
    assert about["bytes"] == familiar.stat().st_size
    for encoding in ("identity", "gzip"):
        answer = plain_client.get(about["url"], headers={"accept-encoding": encoding})
        assert answer.content == familiar.read_bytes()
        assert answer.headers.get("content-encoding", "identity") == encoding
        assert "immutable" in answer.headers["cache-control"]
    assert plain_client.get(f"model/{'0' * 64}.onnx").status_code == 404


def test_a_model_file_that_has_changed_is_not_given_out_as_the_old_one(
    classifier: Classifier, familiar: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(familiar, model)
    with open_server(classifier, model) as client:
        url = client.get("api/v1/model").json()["url"]
        model.write_bytes(b"another")
        answer = client.get(url)
        assert (answer.status_code, "another model" in answer.text) == (404, True)
        model.unlink()
        assert client.get(url).status_code == 404
        shutil.copy(familiar, model)
        assert client.get(url).status_code == 200


def test_what_is_packed_goes_as_it_is(plain_client: httpx.Client) -> None:
    with plain_client.stream("GET", "static/ort-wasm-simd-threaded.wasm") as answer:
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["content-type"] == "application/wasm"
        packed = b"".join(answer.iter_raw())
    assert gzip.decompress(packed)[:4] == b"\0asm"


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "style.css/", ".css", "app.py"])
def test_no_path_leads_out_of_the_package(name: str, plain_client: httpx.Client) -> None:
    assert plain_client.get(f"static/{name}").status_code == 404


def test_pages_come_without_a_camera_too(plain_client: httpx.Client, camera: FakeCamera, client: httpx.Client) -> None:
    assert "What is in the image?" in plain_client.get("").text
    assert "Live image" in client.get("").text
    page = plain_client.get("here")
    assert page.headers["cross-origin-embedder-policy"] == "require-corp"
    assert "cross-origin-embedder-policy" not in client.get("").headers
    assert "catsdogs-here" in plain_client.get("service.js").text
    assert plain_client.get("frame.jpg").status_code == 404
