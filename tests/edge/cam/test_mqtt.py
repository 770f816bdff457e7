"""What a broker hears: Debian's mosquitto where it is there."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from catsdogs_edge.cam.mqtt import Broker, MqttSink
from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.images.decode import decode
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.pipeline import FrameClassifier
from tests.edge.conftest import BLUE, RED, plain
from tests.edge.streams import free_port, wait_for_server
from tests.edge.web.conftest import wait_until

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="needs mosquitto (on Debian: apt install mosquitto)"
)
DISCOVERY = "homeassistant/device/catsdogs_garden/config"


def test_a_url_says_where_the_broker_is_and_who_we_are() -> None:
    broker = Broker.parse("mqtt://us%40er:p%3Aw@home.local/garden")
    assert (broker.host, broker.port, broker.name, broker.tls) == ("home.local", 1883, "garden", False)
    assert (broker.user, broker.password) == ("us@er", "p:w")
    assert Broker.parse("mqtts://[::1]").port == 8883
    assert Broker.parse("mqtt://h:99").name


@pytest.mark.parametrize(
    "url",
    [
        "home.local",
        "http://home.local",
        "mqtt://",
        "mqtt://h:x/a",
        "mqtt://h/a/b",
        "mqtt://h/a+b",
        "mqtt://me:p@ss/secret@h/a",
    ],
)
def test_what_is_no_broker_is_refused_without_its_password(url: str) -> None:
    url = url.replace("://", "://me:secret@") if url.count("/") > 2 else url
    with pytest.raises(ValueError, match=r"expected|no address") as refusal:
        Broker.parse(url)
    assert "secret" not in str(refusal.value)


class Mosquitto:
    """A broker that can be stopped and started again on its port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(["mosquitto", "-c", str(self._config)], stderr=subprocess.DEVNULL)
        wait_for_server(self.port, self._process)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.mark.slow
@needs_mosquitto
def test_a_wrong_password_ends_the_command(tmp_path: Path, scripts: Path, pets: Path, tiny: Path) -> None:
    users, config, port = tmp_path / "users", tmp_path / "mosquitto.conf", free_port()
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "me", "right"], check=True, capture_output=True)
    users.chmod(0o644)
    config.write_text(f"listener {port} 127.0.0.1\npassword_file {users}\nallow_anonymous false\nuser root\n")
    broker = subprocess.Popen(["mosquitto", "-c", config], stderr=subprocess.DEVNULL)
    wait_for_server(port, broker)
    frames = subprocess.Popen(["cat", "/dev/zero"], stdout=subprocess.PIPE)
    command: list[str | Path] = [scripts / "catsdogs-cam", "-", "--raw", "160x120", "--model", tiny, "--no-window"]
    url = f"mqtt://me:wrong@127.0.0.1:{port}/garden"
    done = subprocess.run([*command, "--mqtt", url], stdin=frames.stdout, capture_output=True, text=True, check=False)
    for process in (frames, broker):
        process.kill()
        process.wait()
    assert done.returncode == 1, done.stderr
    assert "are user and password right?" in done.stderr.splitlines()[-1]
    assert "wrong" not in done.stderr


class Listener:
    """Another client of the broker, and all it has heard: the last payload by topic."""

    def __init__(self, port: int) -> None:
        self.heard: dict[str, bytes] = {}
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _, __, message: self.heard.update({message.topic: bytes(message.payload)})
        self.client.on_connect = lambda client, *_: client.subscribe("#")
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def wait(self, topic: str, is_right: Callable[[bytes], bool]) -> bytes:
        deadline = time.monotonic() + 20
        while not is_right(self.heard.get(topic, b"")):
            assert time.monotonic() < deadline, (topic, self.heard.get(topic))
            time.sleep(0.02)
        return self.heard[topic]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    started = Mosquitto(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def listener(broker: Mosquitto) -> Iterator[Listener]:
    opened = Listener(broker.port)
    yield opened
    opened.client.loop_stop()


class Garden:
    """A camera that tells the broker."""

    def __init__(self, port: int, model: Path) -> None:
        self._classifier = Classifier.load(model, threads=1)
        info = ModelInfo.from_classifier(self._classifier, model)
        self.sink = MqttSink(Broker.parse(f"mqtt://127.0.0.1:{port}/garden"), info)
        self._number = 0

    def show(self, colour: tuple[int, int, int]) -> None:
        self._number += 1
        frame = Frame(number=self._number, rgb=plain(colour))
        assert self.sink.write(FrameClassifier(self._classifier, smoothing=0).classify(frame))

    def lose(self) -> None:
        self._number += 1
        self.sink.write(FrameResult(frame=Frame(number=self._number, rgb=None, state=State.LOST, error="out"), fps=0))


@pytest.fixture
def garden(broker: Mosquitto, familiar: Path) -> Iterator[Garden]:
    opened = Garden(broker.port, familiar)
    yield opened
    opened.sink.close()


def label_is(label: str | None) -> Callable[[bytes], bool]:
    return lambda payload: bool(payload) and json.loads(payload)["smoothed_label"] == label


@pytest.mark.slow
@needs_mosquitto
def test_home_assistant_finds_it_and_hears_what_it_sees(garden: Garden, listener: Listener) -> None:
    garden.show(RED)
    found: dict[str, Any] = json.loads(listener.wait(DISCOVERY, bool))
    assert found["device"]["identifiers"] == ["catsdogs_garden"]
    assert set(found["components"]) == {"label", "probability", "image", "source", "familiarity"}
    assert found["components"]["label"]["options"] == ["cat", "dog", "neither"]
    topics = {item["topic"] for item in found["availability"]}
    assert topics == {"catsdogs/garden/online", "catsdogs/garden/source"}
    identifiers = [component["unique_id"] for component in found["components"].values()]
    assert len(set(identifiers)) == len(identifiers)
    assert listener.wait("catsdogs/garden/online", bool) == b"online"
    listener.wait("catsdogs/garden/state", label_is("cat"))
    assert decode(listener.wait("catsdogs/garden/image", bool))[..., 0].mean() > 150
    garden.show(BLUE)
    row = json.loads(listener.wait("catsdogs/garden/state", label_is("dog")))
    assert row["probabilities"]["dog"] > 0.9
    time.sleep(1)  # no more than one image in that time; it comes with the next frame
    garden.show(BLUE)
    listener.wait("catsdogs/garden/image", lambda image: bool(image) and decode(image)[..., 0].mean() < 80)


@pytest.mark.slow
@needs_mosquitto
def test_a_lost_camera_is_not_available(garden: Garden, listener: Listener) -> None:
    garden.show(RED)
    listener.wait("catsdogs/garden/source", lambda word: word == b"online")
    garden.lose()
    listener.wait("catsdogs/garden/source", lambda word: word == b"offline")
    assert json.loads(listener.wait("catsdogs/garden/state", label_is(None)))["state"] == "lost"
    garden.show(RED)
    listener.wait("catsdogs/garden/source", lambda word: word == b"online")


@pytest.mark.slow
@needs_mosquitto
def test_a_broker_that_was_away_hears_it_all_again(garden: Garden, broker: Mosquitto, listener: Listener) -> None:
    garden.show(RED)
    listener.wait("catsdogs/garden/state", label_is("cat"))
    broker.stop()
    garden.show(BLUE)  # nobody hears it, and nothing waits for them
    listener.heard.clear()
    broker.start()
    listener.wait(DISCOVERY, bool)
    listener.wait("catsdogs/garden/state", label_is("dog"))
    listener.wait("catsdogs/garden/online", lambda word: word == b"online")


@pytest.mark.slow
@needs_mosquitto
def test_home_assistant_that_has_started_is_told_again(garden: Garden, listener: Listener) -> None:
    garden.show(RED)
    listener.wait(DISCOVERY, bool)
    listener.heard.clear()
    listener.client.publish("homeassistant/status", b"online")
    listener.wait(DISCOVERY, bool)
    listener.wait("catsdogs/garden/state", label_is("cat"))


@pytest.mark.slow
@needs_mosquitto
def test_it_says_goodbye(broker: Mosquitto, listener: Listener, familiar: Path) -> None:
    garden = Garden(broker.port, familiar)
    garden.show(RED)
    listener.wait("catsdogs/garden/online", lambda word: word == b"online")
    garden.sink.close()
    listener.wait("catsdogs/garden/online", lambda word: word == b"offline")


@pytest.mark.slow
@needs_mosquitto
def test_the_broker_says_that_it_was_killed(
    broker: Mosquitto, listener: Listener, scripts: Path, pets: Path, tiny: Path
) -> None:
    raw = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)
    process = subprocess.Popen(
        [scripts / "catsdogs-cam", "-", "--raw", "160x120", "--model", tiny, "--no-window",
         "--mqtt", f"mqtt://127.0.0.1:{broker.port}/garden"],
        stdin=raw.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    listener.wait("catsdogs/garden/online", lambda word: word == b"online")
    process.kill()
    process.wait()
    raw.kill()
    raw.wait()
    listener.wait("catsdogs/garden/online", lambda word: word == b"offline")


def test_a_broker_that_is_off_stops_nothing(familiar: Path) -> None:
    garden = Garden(free_port(), familiar)
    garden.show(RED)
    garden.sink.close()


def test_a_broker_that_cannot_be_reached_is_said_once(familiar: Path, caplog: pytest.LogCaptureFixture) -> None:
    info = ModelInfo.from_classifier(Classifier.load(familiar, threads=1), familiar)
    sink = MqttSink(Broker.parse("mqtt://nowhere.invalid/garden"), info)
    wait_until(lambda: "nowhere.invalid cannot be reached" in caplog.text)
    sink.close()
    assert caplog.text.count("cannot be reached") == 1


def test_a_broker_that_has_stalled_holds_up_no_end(familiar: Path) -> None:
    info = ModelInfo.from_classifier(Classifier.load(familiar, threads=1), familiar)
    with socket.create_server(("127.0.0.1", 0)) as server:  # it takes connections, and never says a word of TLS
        sink = MqttSink(Broker.parse(f"mqtts://127.0.0.1:{server.getsockname()[1]}/garden"), info)
        connection, _ = server.accept()
        begun = time.monotonic()
        sink.close()
        assert time.monotonic() - begun < 4
        connection.close()
