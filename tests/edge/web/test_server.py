import socket
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

import h11
import httpx
import pytest

from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.web import server as web_server
from catsdogs_edge.web.app import make_context
from catsdogs_edge.web.options import Access
from catsdogs_edge.web.server import CoalescingConnection, WebServer
from tests.edge.conftest import RED, encode, make_certificate, plain
from tests.edge.web.conftest import wait_until


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


def test_the_head_of_an_answer_goes_with_its_body_but_that_of_a_stream_at_once() -> None:
    for headers, at_once in (([("content-length", "3")], False), ([], True)):
        connection = CoalescingConnection(h11.SERVER)
        connection.receive_data(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        connection.next_event()
        head = connection.send(h11.Response(status_code=200, headers=headers))
        body = connection.send(h11.Data(data=b"abc"))
        assert head is not None
        assert body is not None
        assert bool(head) is at_once
        assert (head + body).startswith(b"HTTP/1.1 200")
        assert b"abc" in body


@pytest.mark.parametrize(
    ("host", "said"),
    [("127.0.0.1", ""), ("0.0.0.0", " and this machine's other addresses")],  # noqa: S104
)
def test_it_says_whether_other_machines_find_it(host: str, said: str, classifier: Classifier, familiar: Path) -> None:
    server = WebServer(make_context(classifier, familiar, Access(host=host, port=0, token="x"), None))  # noqa: S106
    try:
        assert server.where == server.url + said
        assert server.url.startswith("http://127.0.0.1:")
    finally:
        server.close()


def test_a_certificate_that_is_renewed_is_taken_up_and_a_damaged_one_is_not(
    classifier: Classifier,
    familiar: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(web_server, "_SECONDS_BETWEEN_RENEWALS", 0.05)
    certificate, key = make_certificate(tmp_path)
    access = Access(host="127.0.0.1", port=0, certificate=certificate, key=key)
    server = WebServer(make_context(classifier, familiar, access, None))

    def shown() -> str:
        where = httpx.URL(server.url)
        return ssl.get_server_certificate((where.host, where.port or 443))

    try:
        first = shown()
        assert first.strip() == certificate.read_text().strip()
        certificate.write_text("damaged")
        wait_until(lambda: "cannot be used" in caplog.text)
        assert shown() == first
        make_certificate(tmp_path, "-newkey", "rsa:2048")  # of another kind
        wait_until(lambda: shown() != first)
        assert shown().strip() == certificate.read_text().strip()
    finally:
        server.close()
