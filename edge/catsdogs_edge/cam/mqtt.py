"""Tells an MQTT broker what a camera sees, so that Home Assistant finds it by itself.

Topics, with NAME from the URL: `catsdogs/NAME/online` (online or offline; the broker says offline when the connection
breaks), `catsdogs/NAME/source` (the same for the camera), `catsdogs/NAME/state` (the row as JSON) and
`catsdogs/NAME/image` (JPEG, when the label changes). All are retained. Home Assistant: https://www.home-assistant.io/integrations/mqtt/
"""

import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from catsdogs_edge.cam.changes import ChangeDetector
from catsdogs_edge.capture.frames import State
from catsdogs_edge.errors import OutputError
from catsdogs_edge.images.jpeg import encode_jpeg
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.output.json_text import to_json
from catsdogs_edge.output.terminal import redact
from catsdogs_edge.stream.frame_result import FrameResult, Sink, to_row

_log = logging.getLogger(__name__)

_REPEAT = 60.0  # seconds until the same state is said again
_LEAST = 10.0  # seconds between two states of the same label: probabilities change with each frame
_BETWEEN_IMAGES = 1.0  # seconds
_EXPIRY = 180  # seconds after which Home Assistant takes a state for none: a camera whose thread hangs says nothing
_LONGEST_RETRY = 30  # seconds between two attempts to connect
_SECONDS_TO_SAY_GOODBYE = 2.0
_HOME_ASSISTANT = "homeassistant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is, and what the camera is called there."""

    host: str
    port: int
    name: str
    """One level of a topic: letters, digits, `_` and `-`."""
    tls: bool
    user: str | None
    password: str | None

    @classmethod
    def parse(cls, url: str) -> "Broker":
        """Reads `mqtt://[USER[:PASSWORD]@]HOST[:PORT][/NAME]`, or `mqtts://`; raises `ValueError` for all else."""
        try:
            parts = urlsplit(url)
            port = parts.port
            (parts.hostname or "").encode("idna")
        except ValueError as error:
            raise ValueError(
                f"{redact(url)} is no address, expected mqtt://HOST/NAME; in a password, / is "
                "written as %2F and @ as %40"
            ) from error
        name = parts.path.strip("/") or _default_name()
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(
                f"'{redact(url)}' is no address of a broker, expected mqtt://HOST/NAME or mqtts://HOST/NAME"
            )
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            given = "what follows the first / of the address" if "@" in name else f"'{name}'"  # a part of a password
            raise ValueError(
                f"{given} cannot name a camera, expected letters, digits, _ and -: mqtt://HOST/NAME; in a password, / "
                "is written as %2F and @ as %40"
            )
        tls = parts.scheme == "mqtts"
        return cls(
            host=parts.hostname,
            port=port or (8883 if tls else 1883),
            name=name,
            tls=tls,
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )


def _default_name() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname().partition(".")[0]) or "camera"


class MqttSink(Sink):
    """Publishes states and images; a broker that is away is looked for again, and hears everything when it is back."""

    def __init__(self, broker: Broker, info: ModelInfo) -> None:
        """Starts to connect, in a thread of its own; a broker that cannot be reached yet is tried again and again."""
        self._broker, self._info = broker, info
        self._topic = f"catsdogs/{broker.name}"
        self._constant = info.row_fields()
        self._changes = ChangeDetector()
        self._lock = threading.Lock()
        self._said: dict[str, bytes] = {}  # by topic, for whoever connects again
        self._next = self._soonest = self._next_image = 0.0
        self._complaint = ""
        self._owes_image = False
        self._refusal = ""
        self._was_connected = False
        self._client = client = Client(CallbackAPIVersion.VERSION2, client_id=f"catsdogs-{broker.name}")
        client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            client.tls_set()
        client.will_set(f"{self._topic}/online", b"offline", qos=1, retain=True)
        client.reconnect_delay_set(1, _LONGEST_RETRY)
        client.on_connect, client.on_disconnect, client.on_message = self._connected, self._lost, self._heard
        client.on_connect_fail = self._failed
        client.connect_async(broker.host, broker.port, keepalive=30)
        client.loop_start()

    def write(self, result: FrameResult) -> bool:
        """Publishes a result if it says something new, or a minute has passed; never asks to stop.

        Raises `OutputError` where the broker has refused user or password from the start.
        """
        if self._refusal:
            raise OutputError(f"the broker {self._broker.host} refuses: {self._refusal}")
        change, now = self._changes.add(result), time.monotonic()
        if change or now >= self._next or (result.prediction and now >= self._soonest):
            self._next, self._soonest = now + _REPEAT, now + _LEAST
            self._publish("source", b"online" if result.frame.state is State.LIVE else b"offline")
            row = to_row(result, self._info.classes, self._constant)
            self._publish("state", to_json(row).encode())
        if change:
            self._owes_image = change.label is not None
        if self._owes_image and result.frame.rgb is not None and now >= self._next_image:
            self._owes_image, self._next_image = False, now + _BETWEEN_IMAGES
            self._publish("image", encode_jpeg(result.frame.rgb))
        return True

    def close(self) -> None:
        """Says goodbye, and ends the thread."""
        self._publish("source", b"offline")
        message = self._client.publish(f"{self._topic}/online", b"offline", qos=1, retain=True)
        if self._client.is_connected():
            message.wait_for_publish(_SECONDS_TO_SAY_GOODBYE)
        self._client.disconnect()
        end = threading.Thread(target=self._client.loop_stop, daemon=True)  # a broker that has stalled holds it up
        end.start()
        end.join(_SECONDS_TO_SAY_GOODBYE)

    def _publish(self, name: str, payload: bytes) -> None:
        with self._lock:
            self._said[name] = payload
        if self._client.is_connected():  # else it would be queued, and the past would be said later
            self._client.publish(f"{self._topic}/{name}", payload, qos=0, retain=True)

    def _connected(
        self, client: Client, _: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            if not self._was_connected and reason.getName() in {"Not authorized", "Bad user name or password"}:
                self._refusal = f"{reason.getName()}: are user and password right?"
            _log.warning("MQTT: %s refuses: %s.", self._broker.host, reason)
            return
        self._was_connected, self._complaint = True, ""
        _log.info("MQTT: connected to %s as %s.", self._broker.host, self._topic)
        client.subscribe(f"{_HOME_ASSISTANT}/status")
        self._introduce()

    def _failed(self, client: Client, _: Any) -> None:
        """Says once why the broker cannot be reached."""
        complaint = str(sys.exc_info()[1] or "it does not answer")
        if complaint != self._complaint:
            self._complaint = complaint
            _log.warning("MQTT: %s cannot be reached (%s): trying again.", self._broker.host, complaint)

    def _lost(
        self, client: Client, _: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            _log.warning("MQTT: the connection to %s is lost (%s): trying again.", self._broker.host, reason)

    def _heard(self, client: Client, _: Any, message: MQTTMessage) -> None:
        """Introduces the camera again when Home Assistant has started."""
        if message.payload == b"online":
            self._introduce()

    def _introduce(self) -> None:
        """Says who this is, and all that was said last."""
        discovery = f"{_HOME_ASSISTANT}/device/catsdogs_{self._broker.name}/config"
        publish: Callable[..., object] = self._client.publish
        publish(discovery, to_json(self._discovery()).encode(), qos=1, retain=True)
        publish(f"{self._topic}/online", b"online", qos=1, retain=True)
        with self._lock:
            for name, payload in self._said.items():
                publish(f"{self._topic}/{name}", payload, qos=0, retain=True)

    def _discovery(self) -> dict[str, Any]:
        """Returns what Home Assistant wants to know: one device, and its entities."""
        name, topic = self._broker.name, self._topic
        software = version("catsdogs")
        return {
            "device": {
                "identifiers": [f"catsdogs_{name}"],
                "name": f"catsdogs {name}",
                "manufacturer": "catsdogs",
                "model": self._info.path.name,
                "sw_version": software,
            },
            "origin": {"name": "catsdogs", "sw_version": software},
            # Of all entities that have none of their own
            "availability": [{"topic": f"{topic}/online"}, {"topic": f"{topic}/source"}],
            "availability_mode": "all",
            "components": {
                key: {"unique_id": f"catsdogs_{name}_{key}", **entity} for key, entity in self._entities().items()
            },
        }

    def _entities(self) -> dict[str, dict[str, Any]]:
        topic = self._topic
        sensor = {"p": "sensor", "state_topic": f"{topic}/state", "expire_after": _EXPIRY}
        share = {"unit_of_measurement": "%", "state_class": "measurement", "suggested_display_precision": 0}
        of_box = {"availability": [{"topic": f"{topic}/online"}]}  # there while the camera is not
        diagnostic = {"entity_category": "diagnostic"}
        entities: dict[str, dict[str, Any]] = {
            "label": {
                **sensor, "name": "Label", "icon": "mdi:paw", "device_class": "enum",
                "options": list(self._info.labels), "value_template": "{{ value_json.smoothed_label }}",
            },
            "probability": {
                **sensor, **share, "name": "Probability", "icon": "mdi:percent",
                "value_template": _percent("smoothed_probability"),
            },
            "image": {
                **of_box, "p": "image", "name": "Last change", "icon": "mdi:image",
                "image_topic": f"{topic}/image", "content_type": "image/jpeg",
            },
            "source": {
                **sensor, **of_box, **diagnostic, "name": "Camera", "icon": "mdi:cctv", "device_class": "enum",
                "options": [state.value for state in State], "value_template": "{{ value_json.state }}",
            },
        }  # fmt: skip
        if self._info.has_familiarity:
            entities["familiarity"] = {
                **sensor, **share, **diagnostic, "name": "Familiarity", "icon": "mdi:eye-check",
                "value_template": _percent("familiarity"),
            }  # fmt: skip
        return entities


def _percent(field: str) -> str:
    """Returns the template of Home Assistant that reads a share from the row."""
    value = f"value_json.{field}"
    return f"{{{{ (100 * {value}) | round(1) if {value} is not none else none }}}}"
