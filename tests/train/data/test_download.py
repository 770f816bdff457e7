import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.errors import DataError
from catsdogs_train.data.download import ARCHIVES, download
from catsdogs_train.settings import Dataset

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SET = Dataset.CATS_VS_DOGS


class Publisher:
    """A web server that has the file, and may break off after some bytes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []
        self.breaks_after = 0
        self.knows_ranges = True


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            running.asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and running.knows_ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            rest = CONTENT[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: running.breaks_after or None])

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = Publisher(f"http://127.0.0.1:{server.server_address[1]}/pets.zip")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        known = replace(ARCHIVES[SET], url=running.url, sha256=hashlib.sha256(CONTENT).hexdigest(), megabytes=3)
        monkeypatch.setitem(ARCHIVES, SET, known)
        monkeypatch.setattr("catsdogs_train.data.download.time.sleep", lambda _: None)
        yield running
        server.shutdown()


def test_it_is_fetched_once_and_taken_from_the_cache_afterwards(publisher: Publisher, tmp_path: Path) -> None:
    assert download(SET, tmp_path).read_bytes() == CONTENT
    assert download(SET, tmp_path) == tmp_path / "pets.zip"
    assert publisher.asked == [""]
    assert [path.name for path in tmp_path.iterdir()] == ["pets.zip"]


def test_a_connection_that_breaks_again_and_again_goes_on_where_it_was(publisher: Publisher, tmp_path: Path) -> None:
    publisher.breaks_after = 700_000
    assert download(SET, tmp_path).read_bytes() == CONTENT
    assert publisher.asked == ["", *(f"bytes={700_000 * number}-" for number in range(1, 5))]


def test_what_a_killed_download_left_is_gone_on_with(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "pets.zip.part").write_bytes(CONTENT[:1000])
    assert download(SET, tmp_path).read_bytes() == CONTENT
    assert publisher.asked == ["bytes=1000-"]
    (tmp_path / "pets.zip").rename(tmp_path / "pets.zip.part")  # all of it had come
    assert download(SET, tmp_path).read_bytes() == CONTENT


def test_two_at_once_are_one_download(publisher: Publisher, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        paths = list(pool.map(lambda _: download(SET, tmp_path), range(3)))
    assert [path.read_bytes() for path in paths] == [CONTENT] * 3
    assert publisher.asked == [""]


def test_a_server_that_knows_no_ranges_sends_it_anew(publisher: Publisher, tmp_path: Path) -> None:
    publisher.knows_ranges = False
    (tmp_path / "pets.zip.part").write_bytes(b"x" * 1000)
    assert download(SET, tmp_path).read_bytes() == CONTENT


def test_another_file_is_refused_and_does_not_stay(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHIVES, SET, replace(ARCHIVES[SET], sha256="0" * 64))
    with pytest.raises(DataError, match="is another file than it was"):
        download(SET, tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_network_it_says_what_to_do(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHIVES, SET, replace(ARCHIVES[SET], url="http://127.0.0.1:1/pets.zip"))
    with pytest.raises(DataError, match=r"cannot be fetched: Connection refused; .* catsdogs-train pets\.zip$"):
        download(SET, tmp_path)


def test_where_there_is_no_room_nothing_is_fetched(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHIVES, SET, replace(ARCHIVES[SET], megabytes=10**9))
    with pytest.raises(DataError, match=r"takes 2000000000 MB, .* has room for \d+ MB"):
        download(SET, tmp_path)
    assert publisher.asked == []
