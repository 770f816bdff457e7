"""The commands that listen: how they start, whom they refuse, how they end."""

import contextlib
import select
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.edge.conftest import RED, encode, make_certificate, plain
from tests.edge.streams import Server, free_port, needs_ffmpeg, serve_http
from tests.edge.web.conftest import wait_until
from tests.processes import started

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def fails(code: int, *command: str | Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([*command], capture_output=True, text=True, check=False, timeout=60, env=env)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_it_serves_until_it_is_told_to_end(number: int, code: int, scripts: Path, tiny: Path) -> None:
    with started(scripts / "catsdogs-serve", f"127.0.0.1:{free_port()}", "--model", tiny) as (process, url):
        assert httpx.post(f"{url}api/v1/classify", content=encode(plain(RED))).json()["label"] == "cat"
        process.send_signal(number)
        _, said = process.communicate(timeout=10)
        assert (process.returncode, said) == (code, "")


def test_what_cannot_be_is_one_line(scripts: Path, tiny: Path, tmp_path: Path) -> None:
    serve, cam = scripts / "catsdogs-serve", scripts / "catsdogs-cam"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "Address already in use; choose another address" in fails(1, serve, address, "--model", tiny)
    assert "give a token" in fails(2, serve, "0.0.0.0:0")
    assert "expected HOST:PORT" in fails(2, serve, "8765")
    assert "no such model file" in fails(1, serve, "127.0.0.1:0", "--model", tmp_path / "none.onnx")
    assert "cannot be read" in fails(1, serve, "127.0.0.1:0", "--token-file", tmp_path / "none")
    missing = ("--tls-cert", tmp_path / "none", "--tls-key", tmp_path / "none")
    assert "cannot be used" in fails(1, serve, "127.0.0.1:0", "--model", tiny, *missing)
    assert "is no address of a broker" in fails(2, cam, "0", "--mqtt", "http://me:secret@home.local")
    assert "go with --web" in fails(2, cam, "0", "--allow-host", "x")
    assert "give a token" in fails(2, cam, "0", "--web", "0.0.0.0:80")


@pytest.fixture
def stream(pets: Path) -> Iterator[Server]:
    """A camera on the network."""
    with serve_http(pets, free_port()) as server:
        yield server


@needs_ffmpeg
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_camera_with_viewers_ends_at_once(number: int, code: int, scripts: Path, tiny: Path, stream: Server) -> None:
    command = [scripts / "catsdogs-cam", f"http://{stream.url}", "--no-window", "--web", f"127.0.0.1:{free_port()}"]
    with started(*command, "--model", tiny) as (process, url), httpx.Client(base_url=url, timeout=20) as client:
        assert client.get("frame.jpg").status_code == 200
        with client.stream("GET", "stream.mjpg") as images, client.stream("GET", "api/v1/events/stream"):
            next(images.iter_raw())
            process.send_signal(number)
            _, said = process.communicate(timeout=10)  # the viewers stay until it ends
        assert process.returncode == code
        assert "Traceback" not in said


@needs_ffmpeg
def test_web_may_stand_alone(scripts: Path, tiny: Path, stream: Server) -> None:
    """The word after it is the source, unless it is an address."""
    command = [scripts / "catsdogs-cam", "--no-window", "--web", f"http://{stream.url}", "--model", tiny]
    with started(*command) as (_, url):
        assert url == "http://127.0.0.1:8765/"
        assert httpx.get(f"{url}readyz").json()["state"] == "live"


def test_https_needs_a_certificate_and_its_key(scripts: Path, tiny: Path, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    command = [scripts / "catsdogs-serve", "127.0.0.1:0", "--model", tiny, "--tls-cert", certificate, "--tls-key", key]
    with started(*command) as (_, url):
        trusted = ssl.create_default_context(cafile=str(certificate))
        assert httpx.get(f"{url}healthz", verify=trusted).json() == {"status": "ok"}
        where = httpx.URL(url)
        idle = [socket.create_connection((where.host, where.port)) for _ in range(270)]  # no handshake begins
        wait_until(lambda: len(select.select(idle, [], [], 0)[0]) == 270 - 256, 20)  # the others were closed
        for connection in idle:
            connection.close()

        def is_well() -> bool:
            with contextlib.suppress(httpx.ConnectError):  # it has not heard of these ends yet
                return bool(httpx.get(f"{url}healthz", verify=trusted, timeout=20).json() == {"status": "ok"})
            return False

        wait_until(is_well, 20)


def test_nothing_of_the_server_is_imported_without_it(video: Path, tiny: Path) -> None:
    code = f"""
import sys
from catsdogs_edge.cli.cam import main
sys.argv = ["catsdogs-cam", {str(video)!r}, "--model", {str(tiny)!r}, "--no-window", "--jsonl", "/dev/null"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert not {{"starlette", "uvicorn", "paho", "prometheus_client"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
