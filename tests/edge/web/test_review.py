"""The routes of catsdogs-review, and its page in a browser."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from catsdogs_edge.collection.review import Review
from catsdogs_edge.images.decode import decode
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.web.app import make_context
from catsdogs_edge.web.server import WebServer
from tests.edge.collection.test_review import CLASSES, collect, files
from tests.edge.web.conftest import LOCAL


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Review]:
    collect(tmp_path, 4)
    opened = Review(tmp_path, CLASSES, tmp_path / "labelled")
    yield opened
    opened.close()


@pytest.fixture
def url(review: Review, familiar: Path) -> Iterator[str]:
    server = WebServer(make_context(Classifier.load(familiar), familiar, LOCAL, None, review))
    yield server.url.rstrip("/")
    server.close()


def test_from_the_list_to_the_folders(url: str, review: Review) -> None:
    listed = httpx.get(f"{url}/api/v1/review").json()
    (burst,) = listed["bursts"]
    names = [image["name"] for image in burst["images"]]
    assert len(names) == 4
    assert (listed["classes"], listed["neither"]) == (["cat", "dog"], "neither")
    assert burst["images"][0]["label"] == "cat"
    assert burst["images"][0]["reason"] == "lot"
    said = {"names": names[:2], "label": "dog"}
    assert httpx.post(f"{url}/api/v1/review/labels", json=said).json() == {"said": 2}
    assert httpx.get(f"{url}/api/v1/review").json()["bursts"][0]["images"][0]["said"] == "dog"
    assert httpx.post(f"{url}/api/v1/review/labels", json={"names": names[1:2], "label": None}).is_success
    assert not (review.folder / "labelled").exists()
    done = httpx.post(f"{url}/api/v1/review/confirm").json()
    assert done == {"moved": {"dog": 1}, "deleted": 0, "gone": 0}
    assert files(review.folder / "labelled") == {f"classes/dog/{names[0]}"}


def test_images_and_maps(url: str, review: Review) -> None:
    name = review.bursts()[0][0].path.name
    image = httpx.get(f"{url}/review/{name}")
    assert image.headers["content-type"] == "image/jpeg"
    assert image.content == (review.folder / name).read_bytes()
    shown = decode(httpx.get(f"{url}/review/{name}/map").content)
    assert shown.shape == decode(image.content).shape
    assert (review.folder / name).read_bytes() == image.content


@pytest.mark.parametrize("name", ["missing.jpg", "labels.jsonl", "..%2Fsecret.jpg", "%2e%2e%2fsecret.jpg"])
def test_nothing_else_is_shown(url: str, review: Review, name: str) -> None:
    (review.folder.parent / "secret.jpg").write_bytes(b"secret")
    (review.folder.parent / "secret.json").write_text("{}")
    for path in (f"{url}/review/{name}", f"{url}/review/{name}/map"):
        assert httpx.get(path).status_code == 404


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"names": 3, "label": "cat"}', b'{"names": ["a"], "label": "horse"}', b'{"names": ["a"]}']
)
def test_what_is_no_label_is_a_400(url: str, body: bytes, review: Review) -> None:
    answer = httpx.post(f"{url}/api/v1/review/labels", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_another_page_may_not_say_anything(url: str) -> None:
    answer = httpx.post(f"{url}/api/v1/review/confirm", headers={"origin": "https://elsewhere.example"})
    assert answer.status_code == 403


def test_a_damaged_image_is_a_404_and_the_rest_goes_on(url: str, review: Review) -> None:
    name = review.bursts()[0][0].path.name
    (review.folder / name).write_bytes(b"torn")
    assert httpx.get(f"{url}/review/{name}/map").status_code == 404
    assert httpx.get(f"{url}/healthz").is_success


def test_the_page_is_there(url: str) -> None:
    page = httpx.get(f"{url}/").text
    assert "static/review.js" in page
    listed = json.dumps(httpx.get(f"{url}/openapi.json").json())
    assert "/api/v1/review/confirm" in listed
