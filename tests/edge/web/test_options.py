from pathlib import Path

import pytest

from catsdogs_edge.errors import DataError
from catsdogs_edge.options import WebOptions
from catsdogs_edge.web.options import Access


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:8765", "127.0.0.1", 8765), ("[::1]:1", "::1", 1), ("localhost:0", "localhost", 0)],
)
def test_an_address_has_a_host_and_a_port(text: str, host: str, port: int) -> None:
    access = Access.from_options(text, WebOptions(), {})
    assert (access.host, access.port, access.token, access.scheme) == (host, port, "", "http")


@pytest.mark.parametrize(
    "text", ["", "80", "localhost", "localhost:", "localhost:70000", "::1:80", "a b:80", "http://x:80"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address, expected HOST:PORT"):
        Access.from_options(text, WebOptions(), {})


@pytest.mark.parametrize("text", ["0.0.0.0:80", "[::]:80", "192.168.1.5:80", "box.local:80"])
def test_others_reach_it_only_with_a_token(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can be reached from other machines: give a token"):
        Access.from_options(text, WebOptions(), {})
    file = tmp_path / "token"
    file.write_text(" a secret that is long\n")
    found = Access.from_options(text, WebOptions(token_file=file), {}).token
    other = Access.from_options(text, WebOptions(), {"CATSDOGS_TOKEN": "another one, long, too"}).token
    assert [found, other] == ["a secret that is long", "another one, long, too"]


def test_a_token_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(DataError, match="cannot be read"):
        Access.from_options("127.0.0.1:1", WebOptions(token_file=file), {})
    file.write_text("\n")
    with pytest.raises(DataError, match="is empty"):
        Access.from_options("127.0.0.1:1", WebOptions(token_file=file), {})
    with pytest.raises(ValueError, match="expected 16 or more"):
        Access.from_options("127.0.0.1:1", WebOptions(), {"CATSDOGS_TOKEN": "fifteen letters"})
    for token in ("é", "two\nlines"):
        with pytest.raises(ValueError, match="ASCII"):
            Access.from_options("127.0.0.1:1", WebOptions(), {"CATSDOGS_TOKEN": token})


def test_names_and_origins_are_lists() -> None:
    options = WebOptions(allow_host="Box.local, cats.example.org", allow_origin="https://Home.example.org/,http://a:1")
    access = Access.from_options("127.0.0.1:1", options, {})
    assert access.hosts == {"box.local", "cats.example.org"}
    assert access.origins == {"https://home.example.org", "http://a:1"}
    for wrong in ("home.example.org", "https://a/path", "*"):
        with pytest.raises(ValueError, match="is no origin"):
            Access.from_options("127.0.0.1:1", WebOptions(allow_origin=wrong), {})


def test_a_certificate_has_a_key() -> None:
    with pytest.raises(ValueError, match="go together"):
        Access.from_options("127.0.0.1:1", WebOptions(tls_cert=Path("x")), {})
