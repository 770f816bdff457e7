"""An RTSP server that takes connections and says nothing."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import ending


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


def url(server: socket.socket) -> str:
    return f"rtsp://bob:s3cret@127.0.0.1:{server.getsockname()[1]}/garden"


def test_a_signal_ends_the_command_while_it_waits(
    silent: socket.socket, scripts: Path, no_display: dict[str, str], tiny: Path
) -> None:
    command: list[str | Path] = [scripts / "catsdogs-cam", url(silent), "--model", tiny, "--no-window"]
    with ending(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=no_display)) as cam:
        connection, _ = silent.accept()
        with connection:
            cam.send_signal(signal.SIGINT)
            assert cam.wait(5) == 130  # not after the ten seconds of an address that does not answer
        cam.kill()
        assert cam.stderr
        assert "Traceback" not in cam.stderr.read()
