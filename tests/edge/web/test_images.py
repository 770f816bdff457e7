import gzip
import json
import socket
import subprocess
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from catsdogs_edge.web.classify import inference
from tests.edge.cli.test_hostile import BAD, GOOD
from tests.edge.conftest import BLUE, GREY, RED, encode, plain
from tests.edge.web.conftest import FakeCamera, resident

FILES = ("dangling.jpg", "loop.jpg", "fifo.jpg", "folder.jpg", "unreadable.jpg")  # errors of a path, not of bytes


@pytest.fixture(scope="module")
def rows(familiar: Path, scripts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What catsdogs-classify says about odd and bad files, by name."""
    folder = tmp_path_factory.mktemp("files")
    for name, (make, _) in BAD.items():
        if name not in FILES:
            make(folder / name)
    for name, data in GOOD.items():
        (folder / name).write_bytes(data)
    command: list[str | Path] = [scripts / "catsdogs-classify", folder, "--model", familiar, "--jsonl", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {Path(row["path"]).name: {**row, "path": None} for row in found}


@pytest.mark.parametrize("name", [*GOOD, *(name for name in BAD if name not in FILES)])
def test_an_image_gets_the_row_of_catsdogs_classify(
    name: str, rows: dict[str, dict[str, object]], plain_client: httpx.Client, tmp_path: Path
) -> None:
    data = GOOD.get(name)
    if data is None:
        BAD[name][0](tmp_path / "file")
        data = (tmp_path / "file").read_bytes()
    answer = plain_client.post("api/v1/classify", content=data)
    assert answer.json() == rows[name]
    assert answer.status_code == (200 if name in GOOD else 422)


def test_a_form_brings_the_name(plain_client: httpx.Client) -> None:
    for field in ("file", "image", "anything"):
        answer = plain_client.post("api/v1/classify", files={field: ("a cat.png", encode(plain(RED)))})
        assert (answer.json()["label"], answer.json()["path"]) == ("cat", "a cat.png")
    assert plain_client.post("api/v1/classify", files={"x": (None, "text")}).status_code == 422
    head = {"content-type": "multipart/form-data; boundary=x"}
    for body in (b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n"):
        answer = plain_client.post("api/v1/classify", content=body, headers=head)
        assert answer.status_code in {400, 422}, body
    assert plain_client.post("api/v1/classify", content=b"x", headers={"content-type": "multipart/form-data"}).is_error


def connect(client: httpx.Client) -> socket.socket:
    url = urlsplit(str(client.base_url))
    assert url.hostname is not None
    assert url.port is not None
    return socket.create_connection((url.hostname, url.port), 10)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(plain_client: httpx.Client) -> None:
    with connect(plain_client) as stream:
        stream.sendall(b"POST /api/v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 41943040\r\n\r\n")
        answer = stream.recv(4096)
        assert b" 413 " in answer.splitlines()[0]
        assert b"connection: close" in answer.lower()


def test_a_body_of_unknown_length_is_cut(plain_client: httpx.Client) -> None:
    with connect(plain_client) as stream:
        stream.sendall(b"POST /api/v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + bytes(2**20) + b"\r\n"
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(400):
                stream.sendall(chunk)


def test_a_body_that_does_not_arrive_is_given_up(plain_client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_edge.web.body.BODY_SECONDS", 0.2)
    with connect(plain_client) as stream:
        stream.sendall(b"POST /api/v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx")
        assert b" 408 " in stream.recv(4096).splitlines()[0]


def test_more_than_may_wait_are_told_to_come_again(plain_client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "QUEUE", 1)
    with connect(plain_client) as first, connect(plain_client) as second:
        for stream in (first, second):  # both hold a place, and send nothing
            stream.sendall(b"POST /api/v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        time.sleep(0.2)
        answer = plain_client.post("api/v1/classify", content=b"x")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    deadline = time.monotonic() + 5
    while plain_client.post("api/v1/classify", content=encode(plain(RED))).status_code != 200:
        assert time.monotonic() < deadline


def test_many_at_a_time_are_answered_and_the_camera_goes_on(camera: FakeCamera, client: httpx.Client) -> None:
    camera.run(15)
    data = encode(plain(BLUE, 480, 640), ".jpg")
    before, memory = camera.number, resident()

    def ask(_: int) -> list[httpx.Response]:
        answers = [client.post("api/v1/classify", content=data) for _ in range(3)]
        while camera.number < before + 5:  # it goes on while all of them are asking
            answers.append(client.post("api/v1/classify", content=data))
        return answers

    with ThreadPoolExecutor(32) as pool:
        answers = [answer for some in pool.map(ask, range(32)) for answer in some]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert {answer.json()["label"] for answer in answers if answer.status_code == 200} == {"dog"}
    assert resident() - memory < 150 * 2**20


def test_deepstack_gets_its_own_words(plain_client: httpx.Client) -> None:
    def ask(colour: tuple[int, int, int]) -> dict[str, object]:
        files = {"image": ("x.png", encode(plain(colour)))}
        found: dict[str, object] = plain_client.post("v1/vision/custom/catsdogs", files=files).json()
        return found

    cat = ask(RED)
    assert cat["success"] is True
    ((box),) = cat["predictions"] if isinstance(cat["predictions"], list) else []
    assert box["label"] == "cat"
    assert box["confidence"] > 0.9
    assert [box[edge] for edge in ("x_min", "y_min", "x_max", "y_max")] == [0, 0, 80, 60]
    assert ask(GREY)["predictions"] == []
    broken = plain_client.post("v1/vision/custom/catsdogs", files={"image": ("x.png", b"no image")})
    assert (broken.status_code, broken.json()["success"]) == (422, False)
    assert plain_client.post("v1/vision/custom/birds", content=b"").status_code == 404
    assert plain_client.post("v1/vision/custom/list").json()["models"] == ["catsdogs"]


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_decompressed(
    encoding: str, pack: Callable[[bytes], bytes], plain_client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = {"content-encoding": encoding}
    packed = pack(encode(plain(RED)))
    assert plain_client.post("api/v1/classify", content=packed, headers=head).json()["label"] == "cat"
    assert plain_client.post("api/v1/classify", content=packed[:-9], headers=head).status_code == 400
    assert plain_client.post("api/v1/classify", content=b"no", headers=head).status_code == 400
    monkeypatch.setattr("catsdogs_edge.web.body.LARGEST_BODY", 1000)
    assert plain_client.post("api/v1/classify", content=pack(bytes(10**6)), headers=head).status_code == 413


def test_another_encoding_is_refused(plain_client: httpx.Client) -> None:
    answer = plain_client.post("api/v1/classify", content=b"x", headers={"content-encoding": "br"})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip, deflate")


def test_deepstack_leaves_out_what_is_not_sure_enough(plain_client: httpx.Client) -> None:
    files = {"image": ("x.png", encode(plain(RED)))}
    for least, count in (("0.5", 1), ("1.01", 0)):
        answer = plain_client.post("v1/vision/custom/catsdogs", files=files, data={"min_confidence": least})
        assert answer.json()["count"] == count
    answer = plain_client.post("v1/vision/custom/catsdogs", files=files, data={"min_confidence": "x"})
    assert (answer.status_code, answer.json()["success"]) == (400, False)
