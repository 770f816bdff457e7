import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from catsdogs_edge.capture.frames import State
from catsdogs_edge.images.decode import decode
from catsdogs_edge.web.camera import hub
from tests.edge.conftest import RED, plain
from tests.edge.web.conftest import FakeCamera, wait_until
from tests.processes import join


def words(answer: httpx.Response) -> dict[str, object]:
    found: dict[str, object] = json.loads(answer.headers["x-catsdogs"])
    return found


def test_the_newest_frame_comes_with_its_row(camera: FakeCamera, client: httpx.Client) -> None:
    camera.show("dog")
    camera.show("cat")
    answer = client.get("frame.jpg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert np.abs(decode(answer.content).mean(axis=(0, 1)) - RED).max() < 6
    said = words(answer)
    row = said["row"]
    assert isinstance(row, dict)
    assert (row["label"], row["state"], row["frame"], said["sequence"]) == ("cat", "live", 1, 2)
    assert row["provider"] == "CPUExecutionProvider"


def test_a_request_for_a_newer_frame_waits_for_it(camera: FakeCamera, client: httpx.Client) -> None:
    camera.show("cat")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.get, "frame.jpg?after=1")
        wait_until(lambda: camera.hub.viewers == 1)
        assert not waiting.done()
        camera.show("dog")
        assert words(waiting.result(5))["sequence"] == 2


def test_no_newer_frame_in_time_is_an_empty_answer(
    camera: FakeCamera, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catsdogs_edge.web.camera.live._HOLD", 0.05)
    camera.show("cat")
    answer = client.get("frame.jpg?after=1")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (words(answer)["state"], words(answer)["sequence"]) == ("live", 1)


def test_a_camera_whose_thread_hangs_is_not_live(
    camera: FakeCamera, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catsdogs_edge.web.camera.live._HOLD", 0.05)
    camera.show("cat")
    live = client.get("snapshot.jpg").content
    monkeypatch.setattr(camera.hub._pace, "patience", -1.0)
    said = words(client.get("frame.jpg?after=1"))
    assert said["state"] == "stale"
    assert str(said["reason"]).startswith("no frame for")
    hanging = client.get("snapshot.jpg").content
    assert decode(hanging)[50:60, 70:90].mean() < 0.6 * decode(live)[50:60, 70:90].mean()  # dimmed
    text = client.get("metrics").text
    assert 'catsdogs_source_state{state="stale"} 1.0' in text


@pytest.mark.parametrize("path", ["stream.mjpg", "api/v1/events/stream"])
def test_a_stream_has_no_head_alone(path: str, camera: FakeCamera, client: httpx.Client) -> None:
    assert client.head(path).status_code == 405
    assert camera.hub.viewers == 0


def test_a_client_of_an_earlier_server_gets_the_frames_of_this_one(camera: FakeCamera, client: httpx.Client) -> None:
    camera.show("cat")
    assert words(client.get("frame.jpg?after=5000"))["sequence"] == 1


def test_a_lost_camera_is_said_without_an_image_and_drawn_on_the_last_one(
    camera: FakeCamera, client: httpx.Client
) -> None:
    camera.show("cat")
    camera.lose()
    answer = client.get("frame.jpg?after=1")
    assert answer.status_code == 204
    row = words(answer)["row"]
    assert isinstance(row, dict)
    assert (row["state"], row["error"], row["label"]) == ("lost", "the cable is out", None)
    drawn = client.get("frame.jpg?drawn=1")
    assert drawn.status_code == 200
    middle = decode(drawn.content)[50:60, 70:90].mean(axis=(0, 1))
    assert middle[0] == pytest.approx(RED[0] / 3, abs=12)  # dimmed, and not black
    assert decode(client.get("snapshot.jpg?drawn=0").content)[50:60, 70:90, 0].mean() == pytest.approx(RED[0], abs=6)


@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=99999999999999999999", "after=１", "drawn=2"])
def test_a_query_that_is_no_number_is_refused(query: str, camera: FakeCamera, client: httpx.Client) -> None:
    answer = client.get(f"frame.jpg?{query}")
    assert answer.status_code == 400
    assert "expected a whole number" in answer.json()["error"]


def test_before_the_first_frame_a_snapshot_is_asked_for_later(camera: FakeCamera, client: httpx.Client) -> None:
    answer = client.get("snapshot.jpg")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_nobody_watches_and_nothing_is_encoded(camera: FakeCamera) -> None:
    for _ in range(50):
        camera.show("cat")
    assert camera.hub.encodes == 0


@pytest.mark.parametrize("viewers", [3, 10])
def test_an_image_is_encoded_once_for_all_who_watch(viewers: int, camera: FakeCamera) -> None:
    camera.run(15)
    stop = threading.Event()
    received = [0] * viewers

    def watch(index: int) -> None:
        with httpx.Client(base_url=camera.url, timeout=20) as mine:
            after = 0
            while not stop.is_set():
                answer = mine.get(f"frame.jpg?after={after}")
                after = int(str(words(answer)["sequence"]))
                received[index] += 1

    threads = [threading.Thread(target=watch, args=(index,)) for index in range(viewers)]
    for thread in threads:
        thread.start()
    wait_until(lambda: min(received) > 3)
    first, encoded = camera.number, camera.hub.encodes
    time.sleep(1)
    frames, encodes = camera.number - first, camera.hub.encodes - encoded
    stop.set()
    for thread in threads:
        join(thread)
    assert encodes <= 1.05 * frames + 1
    assert min(received) > 3


def read_parts(stream: socket.socket, count: int) -> list[bytes]:
    """Reads images of an MJPEG stream."""
    data = b""
    images: list[bytes] = []
    while len(images) < count:
        chunk = stream.recv(65536)
        assert chunk, "the stream has ended"
        data += chunk
        while (start := data.find(b"\xff\xd8")) >= 0 and (end := data.find(b"\xff\xd9", start)) >= 0:
            images.append(data[start : end + 2])
            data = data[end + 2 :]
    return images


def connect(url: str, path: str) -> socket.socket:
    """Opens a connection and asks for a path."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    assert host is not None
    assert port is not None
    stream = socket.create_connection((host, port), 10)
    stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    return stream


def test_a_stream_sends_each_frame_and_the_last_one_again(camera: FakeCamera) -> None:
    camera.show("cat")
    with connect(camera.url, "/stream.mjpg?drawn=0") as stream:
        (image,) = read_parts(stream, 1)
        camera.show("dog")
        second, again = read_parts(stream, 2)  # browsers show a part when the next one arrives
    assert decode(image)[..., 0].mean() > decode(second)[..., 0].mean() + 100
    assert second == again


def test_connections_that_break_are_no_viewers_any_more(camera: FakeCamera) -> None:
    camera.run(15)
    paths = ["/stream.mjpg", "/frame.jpg?after=0", "/api/v1/events/stream"]
    streams = [connect(camera.url, paths[number % 3]) for number in range(50)]
    wait_until(lambda: camera.hub.viewers >= 16)
    for stream in streams:
        stream.close()
    wait_until(lambda: camera.hub.viewers == 0, 2)


def test_one_viewer_more_than_may_is_told_so(
    camera: FakeCamera, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MOST_VIEWERS", 2)
    camera.show("cat")
    with connect(camera.url, "/stream.mjpg"), connect(camera.url, "/stream.mjpg"):
        wait_until(lambda: camera.hub.viewers == 2)
        for path in ("frame.jpg", "stream.mjpg", "api/v1/events/stream"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "viewers" in answer.json()["error"]


def test_it_ends_within_a_second_with_streams_open(camera: FakeCamera, client: httpx.Client) -> None:
    camera.run(15)
    paths = ["/stream.mjpg"] * 3 + ["/api/v1/events/stream"] * 2
    streams = [connect(camera.url, path) for path in paths]
    wait_until(lambda: camera.hub.viewers >= 5)
    with ThreadPoolExecutor(2) as pool:
        camera.stop()
        newest = camera.hub.newest
        assert newest is not None
        waiting = [pool.submit(client.get, f"frame.jpg?after={newest.sequence}") for _ in range(2)]
        wait_until(lambda: camera.hub.viewers >= 7)
        started = time.monotonic()
        camera.sink.close()
        assert time.monotonic() - started < 1
        assert [answer.result().status_code for answer in waiting] == [204, 204]
    for stream in streams:
        stream.close()


def test_a_slow_viewer_sees_the_newest_frame_not_the_past(camera: FakeCamera) -> None:
    """What waits in buffers is the past; the next request must get a frame from after it."""
    camera.run(30)
    with httpx.Client(base_url=camera.url, timeout=20) as slow:
        after = 0
        for _ in range(4):
            assert camera.hub.newest is not None or after == 0
            shown = camera.hub.newest.sequence if camera.hub.newest else 0
            after = int(str(words(slow.get(f"frame.jpg?after={after}"))["sequence"]))
            assert after >= shown
            time.sleep(0.3)


def test_stale_and_reconnecting_are_told_apart(camera: FakeCamera, client: httpx.Client) -> None:
    camera.show("cat")
    for state in (State.STALE, State.RECONNECTING):
        camera.lose(state, "why")
        assert client.get("api/v1/state").json()["state"] == state.value


def test_why_colours_what_speaks_for_the_answer_and_changes_nothing_else(
    camera: FakeCamera, client: httpx.Client
) -> None:
    image = plain(RED, 120, 160)
    image[60:, :] = 40  # says nothing: grey
    camera.show("cat", rgb=image)
    why = client.get("frame.jpg?why=1")
    assert words(why)["sequence"] == words(client.get("frame.jpg"))["sequence"]
    shown, before = decode(why.content), decode(client.get("frame.jpg").content)
    assert shown.shape == before.shape
    assert np.abs(before[:50].astype(int) - image[:50]).mean() < 8
    assert np.abs(shown[:50].astype(int) - before[:50]).mean() > 20
    assert client.get("snapshot.jpg?drawn=0&why=1").content == why.content
    assert client.get("api/v1/state").json()["model"]["maps"] is True
    assert client.get("frame.jpg?why=2").status_code == 400


def test_a_large_frame_is_shrunk_but_not_a_snapshot(camera: FakeCamera, client: httpx.Client) -> None:
    camera.show("cat", rgb=plain(RED, 1080, 4000))
    assert decode(client.get("frame.jpg").content).shape == (518, 1920, 3)
    assert decode(client.get("frame.jpg?drawn=1").content).shape == (518, 1920, 3)
    assert decode(client.get("snapshot.jpg").content).shape == (1080, 4000, 3)
    assert decode(client.get("api/v1/events/1.jpg").content).shape == (518, 1920, 3)


def test_how_long_the_same_has_been_shown_does_not_depend_on_the_clock(
    camera: FakeCamera, client: httpx.Client
) -> None:
    camera.show("cat", moment=0.0)  # as on a box that learns the time later
    camera.show("cat")
    lasted = words(client.get("frame.jpg"))["lasted_s"]
    assert isinstance(lasted, float)
    assert 0 <= lasted < 60
