import socket
import time
from urllib.parse import urlsplit

import httpx
import pytest

from tests.edge.conftest import RED, encode, plain


def connect(client: httpx.Client) -> socket.socket:
    url = urlsplit(str(client.base_url))
    assert url.hostname is not None
    assert url.port is not None
    return socket.create_connection((url.hostname, url.port), 10)


@pytest.mark.parametrize(
    "start", [b"", b"GET / HTTP/1.1\r\nHost: ", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET"]
)
def test_a_connection_that_asks_for_nothing_ends(
    start: bytes, plain_client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catsdogs_edge.web.server._HEAD_SECONDS", 0.2)
    with connect(plain_client) as stream:
        stream.sendall(start)
        stream.settimeout(10)
        while stream.recv(65536):
            pass


def test_a_request_that_takes_long_is_not_cut(plain_client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_edge.web.server._HEAD_SECONDS", 0.2)
    body = encode(plain(RED))
    with connect(plain_client) as stream:
        head = f"POST /api/v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        stream.sendall(head.encode() + body[:9])
        time.sleep(0.5)
        stream.sendall(body[9:])
        assert b" 200 " in stream.recv(65536).splitlines()[0]


def test_connections_beyond_the_limit_end_and_the_others_are_answered(
    plain_client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plain_client.get("healthz").status_code == 200  # a connection that stays
    monkeypatch.setattr("catsdogs_edge.web.server._MOST_CONNECTIONS", 3)
    streams = [connect(plain_client) for _ in range(6)]
    ended = 0
    for stream in streams:
        stream.settimeout(0.5)
        try:
            ended += stream.recv(1) == b""
        except TimeoutError:
            continue
    assert ended == 4
    assert plain_client.get("healthz").status_code == 200
    for stream in streams:
        stream.close()
