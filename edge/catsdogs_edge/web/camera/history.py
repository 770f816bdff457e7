"""What a camera has seen: the newest events with their images, and a timeline of the last day. All in memory."""

import threading
import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from catsdogs_edge.cam.changes import ChangeDetector
from catsdogs_edge.capture.frames import State
from catsdogs_edge.images.jpeg import encode_jpeg
from catsdogs_edge.model.contract import NEITHER
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.web.camera.hub import LONGEST_SHOWN

MOST_EVENTS = 500
MOST_IMAGE_BYTES = 48 * 2**20
"""Of all events together; older images go first."""

MOST_CHANGES = 50_000
"""That the timeline remembers: 8 MB."""

SNAPSHOT_QUALITY = 95
_A_DAY = 86_400.0
_SECONDS_BETWEEN_IMAGES = 0.2  # a scene that flickers costs no more than five images a second
_NOTHING = ""  # before the first result


class EventKind(StrEnum):
    """Why there is an event."""

    LABEL = "label"
    """Another label than before."""
    STATE = "state"
    """The source is not live any more."""
    SNAPSHOT = "snapshot"
    """Somebody asked for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened; its image is kept apart, and not for as long."""

    id: int
    """Counted from 1."""
    time: float
    """Capture time of its frame, seconds since 1970 (UTC)."""
    kind: EventKind
    state: State
    label: str | None
    probability: float | None
    familiarity: float | None


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the timeline."""

    start: float
    """Seconds since 1970 (UTC)."""
    end: float
    name: str
    """A label, a state other than live, or nothing: nobody looked then."""


class History:
    """Takes all results from the camera's thread; others ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._detector = ChangeDetector()
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._images: dict[int, bytes] = {}
        self._image_bytes = 0
        self._changes: deque[tuple[float, str]] = deque(maxlen=MOST_CHANGES)
        self._changed = self._last_image = 0.0
        self.last_id = 0

    @property
    def lasted(self) -> float:
        """Seconds for which the same has been shown, whatever the clock says; 0 before the first result."""
        return round(time.monotonic() - self._changed, 1) if self._changes else 0.0

    def add(self, result: FrameResult) -> Event | None:
        """Takes a result; returns the event that it is, if it is one."""
        change = self._detector.add(result)
        if change is None:
            return None
        image = b""
        rgb, now = result.frame.rgb, time.monotonic()
        if rgb is not None and change.label is not None and now - self._last_image >= _SECONDS_BETWEEN_IMAGES:
            image, self._last_image = encode_jpeg(rgb, longest=LONGEST_SHOWN), now
        kind = EventKind.STATE if change.label is None else EventKind.LABEL
        self._changed = now
        with self._lock:
            self._changes.append((result.frame.time, change.name))
            return self._keep(result, kind, image)

    def add_snapshot(self, result: FrameResult, image: bytes) -> Event:
        """Keeps an encoded frame because somebody wants it."""
        with self._lock:
            return self._keep(result, EventKind.SNAPSHOT, image)

    def events(self, after: int = 0, limit: int = MOST_EVENTS) -> list[Event]:
        """Returns the newest events after number `after`, `limit` at most, oldest first."""
        if after > self.last_id:  # of an earlier server
            after = 0
        with self._lock:
            found = [event for event in self._events if event.id > after]
        return found[-limit:] if limit else []

    def has_image(self, number: int) -> bool:
        """Returns whether the image of an event is still there."""
        return number in self._images

    def image(self, number: int) -> bytes | None:
        """Returns the image of an event as JPEG; None where it has none, or not any more."""
        return self._images.get(number)

    def timeline(self, seconds: float, now: float, steps: int) -> list[Span]:
        """Returns what was to be seen in the last `seconds` before `now`, oldest first, in `steps` steps at most.

        A step shows the class that was to be seen for longest in it, however short; if there was none, where the source
        was not live; else neither. So a cat of two seconds is not lost in a day.
        """
        start, step = now - seconds, seconds / steps
        with self._lock:
            # Where a clock was set back, what it said before counts from then on
            changes = [(moment, name) for moment, name in self._changes if moment < now]
        changes = [(max(moment, start), name) for moment, name in _in_order(changes)]
        first = next((index for index, (moment, _) in enumerate(changes) if moment > start), len(changes))
        known = [(start, changes[first - 1][1] if first else _NOTHING), *changes[first:]]
        shares: list[dict[str, float]] = [{} for _ in range(steps)]
        for (begin, name), (end, _) in zip(known, [*known[1:], (now, _NOTHING)], strict=True):
            for index in range(int((begin - start) / step), min(int((end - start) / step), steps - 1) + 1):
                lasted = min(end, start + (index + 1) * step) - max(begin, start + index * step)
                if lasted > 0:
                    shares[index][name] = shares[index].get(name, 0.0) + lasted
        spans: list[Span] = []
        for index, share in enumerate(shares):
            name = max(share, key=lambda name: (_rank(name), share[name]), default=_NOTHING)
            begin, end = start + index * step, start + (index + 1) * step
            if spans and spans[-1].name == name:
                spans[-1] = Span(spans[-1].start, end, name)
            else:
                spans.append(Span(begin, end, name))
        return spans

    def _keep(self, result: FrameResult, kind: EventKind, image: bytes) -> Event:
        self.last_id += 1
        smoothed, prediction = result.smoothed, result.prediction
        event = Event(
            id=self.last_id,
            time=result.frame.time,
            kind=kind,
            state=result.frame.state,
            label=smoothed.label if smoothed else None,
            probability=round(smoothed.probability, 6) if smoothed else None,
            familiarity=None if prediction is None or prediction.familiarity is None else prediction.familiarity,
        )
        if len(self._events) == MOST_EVENTS:
            self._image_bytes -= len(self._images.pop(self._events[0].id, b""))
        self._events.append(event)
        if image:
            self._images[event.id] = image
            self._image_bytes += len(image)
        while self._image_bytes > MOST_IMAGE_BYTES and len(self._images) > 1:
            self._image_bytes -= len(self._images.pop(next(iter(self._images))))
        # The last one before says what the day began with
        while len(self._changes) > 1 and self._changes[1][0] < result.frame.time - _A_DAY:
            self._changes.popleft()
        return event


def _in_order(changes: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Leaves out what a clock that was set back later says to be in the future of what came next."""
    kept: list[tuple[float, str]] = []
    for change in changes:
        while kept and kept[-1][0] > change[0]:
            kept.pop()
        kept.append(change)
    return kept


def _rank(name: str) -> int:
    """Returns how much somebody who looks at a timeline wants to see of it: the classes most."""
    if name == _NOTHING:
        return 0
    if name == NEITHER:
        return 1
    return 2 if name in set(State) else 3
