import json
import time
from dataclasses import replace

import httpx
import pytest

from catsdogs_edge.capture.frames import State
from catsdogs_edge.images.decode import decode
from catsdogs_edge.web.camera import history
from catsdogs_edge.web.camera.history import History
from tests.edge.web.conftest import FakeCamera


def test_events_are_changes_of_label_and_state(camera: FakeCamera, client: httpx.Client) -> None:
    for label in ("neither", "cat", "cat", "dog"):
        camera.show(label)
    for state in (State.STALE, *(State.LOST, State.RECONNECTING) * 300):  # off for two hours
        camera.lose(state)
    camera.show("dog")
    events = client.get("api/v1/events").json()["events"]
    assert [event["label"] or event["state"] for event in events] == [
        "neither", "cat", "dog", "stale", "lost", "dog",
    ]  # fmt: skip
    assert [event["kind"] for event in events] == ["label"] * 3 + ["state"] * 2 + ["label"]
    assert [event["id"] for event in events] == list(range(1, 7))
    assert [event["id"] for event in client.get("api/v1/events?after=2&limit=3").json()["events"]] == [4, 5, 6]
    assert client.get("api/v1/events?limit=0").json()["events"] == []


def test_an_event_keeps_its_image(camera: FakeCamera, client: httpx.Client) -> None:
    camera.show("cat")
    (event,) = client.get("api/v1/events").json()["events"]
    answer = client.get(f"api/v1/{event['image']}")
    assert "immutable" in answer.headers["cache-control"]
    assert decode(answer.content).shape == (120, 160, 3)
    missing = client.get("api/v1/events/99.jpg")
    assert (missing.status_code, missing.json()) == (404, {"error": "there is no such image, or not any more"})


def test_a_snapshot_is_kept_as_an_event(camera: FakeCamera, client: httpx.Client) -> None:
    assert client.post("api/v1/snapshots").status_code == 503
    camera.show("cat")
    answer = client.post("api/v1/snapshots")
    assert (answer.status_code, answer.json()["kind"]) == (201, "snapshot")
    assert decode(client.get(f"api/v1/{answer.json()['image']}").content).shape == (120, 160, 3)
    assert client.get("api/v1/events").json()["events"][-1] == answer.json()


def test_events_are_streamed_as_they_happen(camera: FakeCamera, client: httpx.Client) -> None:
    for label in ("cat", "dog", "cat"):
        camera.show(label)
    with client.stream("GET", "api/v1/events/stream", headers={"last-event-id": "1"}) as answer:
        lines = answer.iter_lines()
        found = []
        for line in lines:
            if line.startswith("id: "):
                found.append(int(line[4:]))
                assert next(lines) == "event: label"
                assert json.loads(next(lines)[6:])["label"] in {"cat", "dog"}
            if found == [2, 3]:
                camera.show("dog")
            if found == [2, 3, 4]:
                break


def test_the_state_says_what_is_known(camera: FakeCamera, client: httpx.Client) -> None:
    about = client.get("api/v1/state").json()
    assert (about["source"], about["state"], about["row"]) == ("camera 0", "stale", None)
    camera.show("dog")
    about = client.get("api/v1/state").json()
    assert about["row"]["label"] == "dog"
    assert about["model"]["labels"] == ["cat", "dog", "neither"]
    assert client.get("readyz").json() == {"status": "ready", "state": "live"}


def test_a_camera_that_hangs_is_not_ready(
    camera: FakeCamera, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("readyz").status_code == 503
    camera.show("dog")
    monkeypatch.setattr(camera.hub._pace, "patience", -1.0)
    answer = client.get("readyz")
    assert (answer.status_code, answer.json()["state"]) == (503, "stale")
    assert "no frame for" in answer.json()["reason"]
    assert client.get("healthz").json() == {"status": "ok"}


def test_the_timeline_is_the_same_by_http(camera: FakeCamera, client: httpx.Client) -> None:
    now = time.time()
    camera.show("cat", moment=now - 1800)
    camera.show("neither", moment=now - 600)
    spans = client.get("api/v1/timeline?hours=1").json()["spans"]
    assert [span["name"] for span in spans] == [None, "cat", "neither"]
    assert spans[1]["start"] == pytest.approx(now - 1800, abs=6)
    assert client.get("api/v1/timeline?hours=25").status_code == 400


class Clock:
    """Lets a history see labels at moments that a test chooses."""

    def __init__(self, camera: FakeCamera) -> None:
        self.history: History = camera.history
        self._camera = camera

    def see(self, label: str, moment: float) -> None:
        self._camera.show(label, moment=moment)


def test_a_short_visit_is_not_lost_in_a_day(camera: FakeCamera) -> None:
    clock = Clock(camera)
    clock.see("neither", 0)
    clock.see("cat", 40_000)
    clock.see("neither", 40_002)
    spans = camera.history.timeline(86_400, 86_400, 720)
    assert [span.name for span in spans] == ["neither", "cat", "neither"]
    assert spans[1].end - spans[1].start == pytest.approx(120)
    assert (spans[0].start, spans[-1].end) == (0, 86_400)


def test_what_was_before_the_timeline_begins_it(camera: FakeCamera) -> None:
    clock = Clock(camera)
    clock.see("dog", 10)
    clock.see("cat", 150)
    assert [(span.start, span.name) for span in camera.history.timeline(100, 200, 10)] == [(100, "dog"), (150, "cat")]
    assert [span.name for span in camera.history.timeline(100, 5, 10)] == [""]


def test_what_the_day_began_with_is_not_forgotten(camera: FakeCamera) -> None:
    clock = Clock(camera)
    clock.see("neither", 0)
    clock.see("cat", 108_000)
    assert [span.name for span in camera.history.timeline(86_400, 108_060, 720)] == ["neither", "cat"]


def test_a_clock_that_is_set_back_breaks_nothing(camera: FakeCamera) -> None:
    clock = Clock(camera)
    for label, moment in (("cat", 99_940), ("dog", 100_000), ("cat", 82_000), ("neither", 82_400)):
        clock.see(label, moment)
    spans = camera.history.timeline(3600, 100_000, 60)
    assert [(span.start, span.name) for span in spans] == [(96_400, "neither")]


def test_after_a_restart_events_begin_anew(camera: FakeCamera, client: httpx.Client) -> None:
    camera.show("cat")
    assert [event["id"] for event in client.get("api/v1/events?after=480").json()["events"]] == [1]


def test_a_name_that_is_no_utf8_is_no_mistake(camera: FakeCamera, client: httpx.Client) -> None:
    result = camera.show("cat")
    odd = replace(result, frame=replace(result.frame, path="caf\udce9.jpg"))
    camera.sink.write(odd)
    assert client.get("api/v1/state").json()["row"]["path"] == "caf\udce9.jpg"
    assert client.get("frame.jpg").status_code == 200
    assert client.get("metrics").status_code == 200


def test_what_is_kept_has_bounds(camera: FakeCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_SECONDS_BETWEEN_IMAGES", 0.0)
    camera.show("cat")
    size = len(camera.history.image(1) or b"")
    monkeypatch.setattr(history, "MOST_IMAGE_BYTES", 4 * size)
    for number in range(history.MOST_EVENTS + 20):
        camera.show("dog" if number % 2 == 0 else "cat")
    events = camera.history.events()
    assert len(events) == history.MOST_EVENTS
    kept = [event.id for event in events if camera.history.has_image(event.id)]
    assert 2 <= len(kept) <= 6
    assert kept[-1] == events[-1].id
    assert camera.history.image(1) is None


def test_a_scene_that_flickers_costs_few_images(camera: FakeCamera) -> None:
    for number in range(40):
        camera.show("dog" if number % 2 else "cat")
    events = camera.history.events()
    assert len(events) == 40
    assert sum(camera.history.has_image(event.id) for event in events) < 20


def test_an_image_is_of_no_event_of_an_earlier_server(camera: FakeCamera, client: httpx.Client) -> None:
    camera.show("cat")
    (event,) = client.get("api/v1/events").json()["events"]
    assert client.get(f"api/v1/{event['image']}").status_code == 200
    assert client.get("api/v1/events/1.jpg?at=1.000").status_code == 404
