import socket
from pathlib import Path

import pytest

from catsdogs_edge.cam.watchdog import Watchdog


def test_a_socket_that_nobody_hears_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = tmp_path / "deaf"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(deaf))
    for address in (tmp_path / "none", deaf):
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        watchdog = Watchdog.from_environment()
        assert watchdog
        watchdog.close()
