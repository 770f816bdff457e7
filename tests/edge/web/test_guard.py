"""Who may ask what: the table is made from the routes, so that none can be forgotten."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers

from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.web.app import find_endpoints
from catsdogs_edge.web.endpoint import Endpoint
from catsdogs_edge.web.guard import FailureLimit, cookie_name, session, shown_token
from catsdogs_edge.web.options import Access
from tests.edge.conftest import RED, encode, plain
from tests.edge.web.conftest import LOCAL, open_camera, open_server

TOKEN = "correct horse: battery=staple"  # noqa: S105 - of these tests
ENDPOINTS = find_endpoints(has_camera=True)
PROOFS = ("none", "wrong", "bearer", "basic", "cookie")
CALLERS = ("ours", "foreign host", "foreign origin", "foreign fetch", "own page")
EXAMPLES = {"{name}": "catsdogs", "{version}": "1", "{id:int}": "1", "{sha256}": "0" * 64}


@pytest.fixture(scope="module")
def locked(classifier: Classifier, familiar: Path) -> Iterator[httpx.Client]:
    """A client of a server with a token and a camera, which asks for the newest frame and no stream."""
    access = Access(host="127.0.0.1", port=0, token=TOKEN)
    with open_camera(classifier, familiar, access) as camera:
        camera.show("cat")
        camera.run(20)
        with httpx.Client(base_url=camera.url, timeout=20) as client:
            yield client


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong tokens are not counted, but where it is tested."""
    monkeypatch.setattr("catsdogs_edge.web.guard._MOST_FAILURES", 10**6)


def prove(kind: str) -> dict[str, str]:
    """The headers that show a token, or do not."""
    if kind == "none":
        return {}
    if kind == "cookie":
        return {"cookie": f'foo={{"a":1,"b":2}}; {cookie_name(TOKEN)}={session(TOKEN)}'}
    if kind == "basic":
        return {"authorization": httpx.BasicAuth("anybody", TOKEN)._auth_header}
    return {"authorization": f"Bearer {TOKEN if kind == 'bearer' else 'wrong'}"}


def call_as(kind: str, client: httpx.Client) -> dict[str, str]:
    """The headers of somebody who asks."""
    return {
        "ours": {},
        "foreign host": {"host": "rebound.example.org"},
        "foreign origin": {"origin": "https://evil.example.org"},
        "foreign fetch": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        "own page": {"origin": str(client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"},
    }[kind]


def path_of(endpoint: Endpoint) -> str:
    path = endpoint.path
    for name, value in EXAMPLES.items():
        path = path.replace(name, "style.css" if "/static/" in path else value)
    return path.lstrip("/")


@pytest.mark.parametrize(("proof", "caller"), list(itertools.product(PROOFS, CALLERS)))
def test_each_route_answers_who_may_ask_and_nobody_else(proof: str, caller: str, locked: httpx.Client) -> None:
    for endpoint in ENDPOINTS:
        headers = {**prove(proof), **call_as(caller, locked)}
        with locked.stream(endpoint.method, path_of(endpoint), headers=headers) as answer:
            status = answer.status_code
            is_page = answer.headers.get("content-type", "").startswith(("text/html", "text/javascript"))
        if caller == "foreign host":
            expected = {421}
        elif caller.startswith("foreign"):
            expected = {403}
        elif endpoint.is_open or proof in {"bearer", "basic", "cookie"}:
            expected = {*endpoint.answers}
        else:
            expected = {401}
        assert status in expected, (endpoint.method, endpoint.path)
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert policy.endswith("frame-ancestors 'none'")
        assert ("script-src 'self'" in policy) is is_page
        assert "server" not in answer.headers


def test_a_token_in_the_address_is_refused(locked: httpx.Client) -> None:
    answer = locked.get("api/v1/state?token=x", headers=prove("bearer"))
    assert answer.status_code == 400
    assert "Authorization: Bearer" in answer.json()["error"]


def test_a_browser_gets_a_cookie_for_the_token(locked: httpx.Client) -> None:
    answer = locked.post("api/v1/session", headers=prove("bearer"))
    cookie = answer.headers["set-cookie"].lower()
    assert answer.status_code == 204
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    locked.cookies.clear()
    assert locked.post("api/v1/session", headers=prove("wrong")).status_code == 401
    assert "set-cookie" not in locked.post("api/v1/session/end").headers  # its name would say something about the token
    gone = locked.post("api/v1/session/end", headers=prove("cookie")).headers["set-cookie"]
    assert "Max-Age=0" in gone
    locked.cookies.clear()


def test_only_programs_and_pages_are_asked_for_a_password(locked: httpx.Client) -> None:
    """A script of our own page asks its user itself; the browser's own dialog would come before it."""
    assert locked.get("metrics").headers["www-authenticate"].startswith("Basic")
    script = {"x-catsdogs-page": "1"}
    assert locked.get("metrics", headers=script).headers["www-authenticate"].startswith("Bearer")


def test_ten_wrong_tokens_are_enough(classifier: Classifier, familiar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_edge.web.guard._MOST_FAILURES", 10)
    with open_server(classifier, familiar, Access(host="127.0.0.1", port=0, token=TOKEN)) as client:
        assert [client.get("metrics", headers=prove("wrong")).status_code for _ in range(10)] == [401] * 10
        answer = client.get("metrics", headers=prove("bearer"))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
        assert client.get("healthz").status_code == 200
        assert client.get("metrics", headers=prove("cookie")).status_code == 200  # who was there before, stays


def test_an_old_cookie_is_no_guess(classifier: Classifier, familiar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_edge.web.guard._MOST_FAILURES", 1)
    with open_server(classifier, familiar, Access(host="127.0.0.1", port=0, token=TOKEN)) as client:
        for _ in range(3):
            assert client.get("metrics", headers={"cookie": f"{cookie_name(TOKEN)}=old"}).status_code == 401
        assert client.get("metrics", headers=prove("bearer")).status_code == 200


def test_wrong_tokens_are_forgotten_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_edge.web.guard._MOST_FAILURES", 2)
    limit = FailureLimit()
    limit.add("one")
    limit.add("one")
    assert limit.is_reached("one")
    assert not limit.is_reached("other")
    monkeypatch.setattr("catsdogs_edge.web.guard._FAILURE_SECONDS", 0.0)
    assert not limit.is_reached("one")


def test_the_token_reaches_no_log(locked: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for proof in PROOFS:
            locked.get("metrics", headers=prove(proof))
            locked.get("metrics?token=secret", headers=prove(proof))
    assert TOKEN not in caplog.text
    assert "secret" not in "".join(record.message for record in caplog.records if record.name.startswith("uvicorn"))


def test_a_link_to_the_page_may_be_followed(locked: httpx.Client) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert locked.get("", headers=link).status_code == 200
    assert locked.post("api/v1/session/end", headers=link).status_code == 403


def test_an_allowed_page_may_ask_and_show_it(classifier: Classifier, familiar: Path) -> None:
    home = "https://home.example.org"
    access = Access(host="127.0.0.1", port=0, origins=frozenset({home}), hosts=frozenset({"box.example.org"}))
    with open_server(classifier, familiar, access) as client:
        headers = {"origin": home, "host": "box.example.org:8765", "sec-fetch-site": "cross-site"}
        answer = client.post("api/v1/classify", content=encode(plain(RED)), headers=headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, home)
        assert answer.headers["vary"] == "Origin"
        asked = client.request("OPTIONS", "api/v1/classify", headers=headers)
        assert (asked.status_code, asked.headers["access-control-allow-methods"]) == (204, "GET, POST")
        assert f"frame-ancestors {home}" in client.get("").headers["content-security-policy"]
        assert client.get("", headers={"origin": "https://other.example.org"}).status_code == 403


@pytest.mark.parametrize(
    "host", ["", "localhost.example.org", "127.0.0.1.example.org", "192.168.1.1", "evil@localhost"]
)
def test_a_host_that_only_looks_local_is_refused(host: str, plain_client: httpx.Client) -> None:
    assert plain_client.get("healthz", headers={"host": host}).status_code in {400, 421}


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:8765", "[::1]:8765", "127.9.9.9"])
def test_names_of_this_machine_are_known(host: str, plain_client: httpx.Client) -> None:
    assert plain_client.get("healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("value", ["Basic x", "Basic !!!", "Basic eA==", "Bearer", "Digest a", "Basic /w=="])
def test_headers_that_show_nothing_are_no_error(value: str) -> None:
    assert not shown_token(Headers({"authorization": value}))


def test_with_a_token_any_address_in_numbers_will_do(classifier: Classifier, familiar: Path) -> None:
    """Behind NAT, as a container is, it is not the one that the request came in by."""
    with open_server(classifier, familiar, Access(host="127.0.0.1", port=0, token=TOKEN)) as client:
        assert client.get("metrics", headers={"host": "192.168.1.1:80", **prove("bearer")}).status_code == 200
        assert client.get("metrics", headers={"host": "box.local", **prove("bearer")}).status_code == 421


def test_without_a_token_nothing_is_asked_for(classifier: Classifier, familiar: Path) -> None:
    with open_server(classifier, familiar, LOCAL) as client:
        assert client.get("metrics").status_code == 200
