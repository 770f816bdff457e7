import base64
import csv
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from catsdogs_edge.classify import remote
from catsdogs_edge.classify.options import is_address
from catsdogs_edge.classify.remote import RemoteOriginal, _request, fetch
from catsdogs_edge.errors import ImageError
from catsdogs_edge.output.terminal import redact
from tests.edge.conftest import RED, encode, plain

IMAGE = encode(plain(RED))


class Pages(BaseHTTPRequestHandler):
    """What each path answers."""

    seen: list[tuple[str, str | None]]
    elsewhere = ""

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Authorization"]))
        name = self.path.partition("?")[0]
        if name == "/gone.jpg":
            self.send_error(404)
        elif name in {"/to-ftp", "/elsewhere", "/loop"}:
            target = {"/to-ftp": "ftp://127.0.0.1/x", "/elsewhere": self.elsewhere, "/loop": "/loop"}[name]
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
        elif name == "/late":
            time.sleep(1.6)
            self.send_response(200)
            self.end_headers()
            time.sleep(1.6)
            self.wfile.write(IMAGE)
        elif name == "/slow":
            self.send_response(200)
            self.end_headers()
            with suppress(ConnectionError):
                while True:  # until the other side has had enough
                    self.wfile.write(b"x")
                    time.sleep(0.1)
        else:
            kind = "multipart/x-mixed-replace; boundary=x" if name == "/stream" else "image/png"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(b"no image" if name == "/page" else IMAGE)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def pages() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A web server: its address, and the paths that it was asked for with what was shown to be let in."""

    class Handler(Pages):
        seen: list[tuple[str, str | None]] = []  # noqa: RUF012 - of this server alone

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        address = f"127.0.0.1:{server.server_address[1]}"
        Handler.elsewhere = f"http://localhost:{server.server_address[1]}/image.png"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield address, Handler.seen
        server.shutdown()


Server = tuple[str, list[tuple[str, str | None]]]


def test_an_image_is_fetched_with_the_password_of_its_address(pages: Server) -> None:
    address, seen = pages
    assert fetch(f"http://me:p%40ss@{address}/image.png?size=1#top") == IMAGE
    assert seen == [("/image.png?size=1", "Basic " + base64.b64encode(b"me:p@ss").decode())]


def test_a_password_goes_to_no_other_server(pages: Server) -> None:
    address, seen = pages
    assert fetch(f"http://me:secret@{address}/elsewhere") == IMAGE
    assert [path for path, _ in seen] == ["/elsewhere", "/image.png"]
    assert seen[1][1] is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone.jpg", "the server answers 404"),
        ("to-ftp", r"sends us on to 'ftp://127\.0\.0\.1/x', which is no web server"),
        ("loop", "the server answers 302"),
        ("stream", r"a stream \(multipart/x-mixed-replace\), expected an image: catsdogs-cam"),
    ],
)
def test_what_is_no_image_is_one_error(path: str, message: str, pages: Server) -> None:
    with pytest.raises(ImageError, match=message):
        fetch(f"http://{pages[0]}/{path}")


def test_letters_and_spaces_in_an_address_are_sent_as_browsers_send_them(pages: Server) -> None:
    address, seen = pages
    assert fetch(f"http://{address}/Kätzchen im Garten.jpg?name=größe 1&done=%20") == IMAGE
    assert seen[0][0] == "/K%C3%A4tzchen%20im%20Garten.jpg?name=gr%C3%B6%C3%9Fe%201&done=%20"
    assert _request("http://kätzchen.example:81/x").full_url == "http://xn--ktzchen-5wa.example:81/x"
    assert _request("http://me:x@bücher:8080/x").full_url == "http://xn--bcher-kva:8080/x"
    assert _request("http://[::1]:80/a[1].jpg?x[]=1|2&y={z}").full_url == "http://[::1]:80/a[1].jpg?x[]=1|2&y={z}"
    assert _request("http://h/\udce4.jpg").full_url == "http://h/%E4.jpg"


def test_what_is_kept_is_not_fetched_again(pages: Server) -> None:
    for keeps, count in ((True, 1), (False, 2)):
        pages[1].clear()
        original = RemoteOriginal.from_address(f"http://{pages[0]}/image.png", keeps=keeps)
        assert original.read() == original.read_again() == IMAGE
        assert len(pages[1]) == count


def test_the_time_of_an_image_begins_with_its_answer(pages: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SECONDS", 3.0)
    assert fetch(f"http://{pages[0]}/late") == IMAGE


def test_limits_hold(pages: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SECONDS", 0.5)
    with pytest.raises(ImageError, match="did not arrive within 0 s"):
        fetch(f"http://{pages[0]}/slow")
    monkeypatch.setattr(remote, "LARGEST", 100)
    with pytest.raises(ImageError, match="more than 0 MB"):
        fetch(f"http://{pages[0]}/image.png")


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/x", "http://[::1/x", "http://no.such.host.invalid/x", "http://x:y/"]
)
def test_a_server_that_is_not_there_is_one_error(address: str) -> None:
    with pytest.raises(ImageError, match=r"^cannot be fetched: "):
        fetch(address)


def test_what_an_address_is() -> None:
    assert is_address("HTTPS://x/y.jpg")
    assert not any(map(is_address, ["http:/x", "rtsp://x", "ftp://x/y.jpg", "https.jpg", "http://"]))


def classify(scripts: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([scripts / "catsdogs-classify", *arguments], capture_output=True, text=True, check=False)


def test_addresses_beside_files_are_rows_by_their_addresses(
    scripts: Path, pages: Server, tiny: Path, album: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rows.csv"
    names: list[str | Path] = [
        f"http://me:secret@{pages[0]}/image.png",
        album / "a cat.png",
        f"http://{pages[0]}/page?a=*",
        f"http://{pages[0]}/x//i.png",
        f"http://{pages[0]}/x/i.png",
    ]
    done = classify(scripts, *names, "--csv", out, "--model", tiny)
    assert done.returncode == 3, done.stderr
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == ["cat", "cat", "", "cat", "cat"]
    assert [row["path"] for row in rows[3:]] == names[3:]
    assert {path for path, _ in pages[1]} == {"/image.png", "/page?a=*", "/x//i.png", "/x/i.png"}
    assert rows[0]["path"] == f"http://***@{pages[0]}/image.png"
    assert rows[2]["error"].startswith("not an image, or a truncated one")
    assert "secret" not in out.read_text() + done.stdout + done.stderr


def test_only_what_was_typed_is_fetched(scripts: Path, pages: Server, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "names").write_text(f"http://{pages[0]}/image.png\n")
    done = classify(scripts, f"@{tmp_path / 'names'}", "--model", tiny)
    assert done.returncode == 1
    assert "no such file" in done.stdout
    assert pages[1] == []


def test_an_address_cannot_be_moved(scripts: Path, tmp_path: Path) -> None:
    done = classify(scripts, "http://x/y.jpg", "--move", tmp_path / "sorted")
    assert done.returncode == 2
    assert "--copy and --move sort files" in done.stderr


@pytest.mark.parametrize(
    ("name", "what"),
    [("0", "a camera"), ("cam:C920", "a camera"), ("rtsp://h/x", "a stream"), ("visit.mp4", "a video")],
)
def test_what_is_no_image_is_sent_to_the_command_for_it(
    name: str, what: str, scripts: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "visit.mp4").write_bytes(b"\0" * 99)
    done = classify(scripts, name, "--model", tiny)
    assert done.returncode == 1
    assert f"({what}: catsdogs-cam classifies it)" in done.stdout


def test_videos_in_a_folder_are_named_in_the_summary(scripts: Path, tiny: Path, album: Path) -> None:
    (album / "visit.MOV").write_bytes(b"\0" * 99)
    done = classify(scripts, album, "--model", tiny)
    assert "left out: " in done.stderr
    assert "(videos: catsdogs-cam)" in done.stderr


def test_addresses_that_differ_in_what_is_hidden_have_names_that_differ() -> None:
    one, two, plain_one = (RemoteOriginal.from_address(f"http://h/i{query}").name for query in ("?id=1", "?id=2", ""))
    assert one.startswith("http://h/i?id=***&#")
    assert redact(one) == one
    assert RemoteOriginal.from_address("http://[::1/x").name == "http://[::1/x"
    assert one != two
    assert plain_one == "http://h/i"
