"""Counts for Prometheus; nothing is computed until somebody scrapes."""

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from catsdogs_edge.capture.frames import State
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.web.camera.history import Event
from catsdogs_edge.web.camera.hub import Hub

if TYPE_CHECKING:
    from prometheus_client import Metric

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds


class _Histogram:
    """Durations in seconds, by `_BUCKETS`."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        total, pairs = 0, []
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self.counts, strict=True):
            total += count
            pairs.append((bound, float(total)))
        return pairs


class Telemetry:
    """Counts results of the camera's thread, and requests of the server's; a collector for prometheus-client."""

    def __init__(self, info: ModelInfo, hub: Hub | None) -> None:
        self._info = info
        self._hub = hub
        self._lock = threading.Lock()
        self._frames = Counter(dict.fromkeys(("classified", "still", "dropped", "failed"), 0))
        self._labels: Counter[str] = Counter(dict.fromkeys(info.labels, 0))
        self._events: Counter[str] = Counter()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._inference, self._age = _Histogram(), _Histogram()
        self._last = 0.0

    def add(self, result: FrameResult) -> None:
        """Counts a frame."""
        frame = result.frame
        with self._lock:
            self._frames["dropped"] += frame.dropped
            if is_fresh := frame.rgb is not None and not frame.error:
                self._last = frame.time
            answered = next((part for part in (result, *result.each()) if part.prediction), None)
            if answered and answered.prediction:
                self._frames["classified"] += 1
                self._labels[answered.prediction.label] += 1
                self._inference.add(answered.latency_ms / 1000)
                self._age.add(time.monotonic() - frame.captured)
            elif is_fresh:
                self._frames["still"] += 1
            elif frame.state is State.LIVE and frame.error:
                self._frames["failed"] += 1

    def add_event(self, event: Event) -> None:
        """Counts an event."""
        with self._lock:
            self._events[event.label or event.state.value] += 1

    def add_request(self, route: str, code: int) -> None:
        """Counts a request by the route that answered it, never by its path: there are endless paths."""
        with self._lock:
            self._requests[route, code] += 1

    def render(self) -> tuple[bytes, str]:
        """Returns all metrics in Prometheus' text format, and its content type."""
        from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415 - at the first scrape
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415

        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterator["Metric"]:
        """Yields the metrics."""
        with self._lock:  # the camera's thread must not wait for the rest
            requests, frames = self._requests.copy(), self._frames.copy()
            labels, events, last = self._labels.copy(), self._events.copy(), self._last
            histograms = [(each.cumulative(), each.sum) for each in (self._inference, self._age)]
        about = {
            "version": version("catsdogs"),
            "model": _text(self._info.path.name),
            "provider": self._info.provider,
            "precision": self._info.precision.value,
        }
        yield _family("gauge", "build_info", "Which software, model and provider.", {tuple(about.values()): 1}, *about)
        counts = {(route, str(code)): count for (route, code), count in requests.items()}
        yield _family("counter", "http_requests", "Requests by route and status code.", counts, "route", "code")
        if self._hub is None:  # no camera
            return
        now, _ = self._hub.state()
        states = {(state.value,): float(state is now) for state in State}
        yield _family("gauge", "source_state", "1 for the state that the source is in.", states, "state")
        for name, text, label, values in (
            ("frames", "Frames of the source, by what became of them.", "result", frames),
            ("labels", "Classified frames by their label, each for itself.", "label", labels),
            ("events", "Changes of what is shown, by what it is since.", "label", events),
        ):
            yield _family("counter", name, text, {(_text(key),): count for key, count in values.items()}, label)
        yield _histogram("inference", "Resize and inference of a frame.", *histograms[0])
        yield _histogram("frame_age", "From the capture of a frame to its answer.", *histograms[1])
        yield _family("gauge", "last_frame_timestamp_seconds", "Capture time of the last fresh frame.", {(): last})
        yield _family("gauge", "viewers", "Requests that wait for frames now.", {(): self._hub.viewers})
        yield _family("counter", "encodes", "Images encoded for viewers.", {(): self._hub.encodes})


def _family(kind: str, name: str, text: str, values: Mapping[Any, float], *labels: str) -> "Metric":
    """Makes a family of samples, by the values of its labels: a tuple of them."""
    from prometheus_client import core  # noqa: PLC0415 - see `render`

    family = (core.GaugeMetricFamily if kind == "gauge" else core.CounterMetricFamily)(
        f"catsdogs_{name}", text, labels=labels
    )
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, buckets: list[tuple[str, float]], total: float) -> "Metric":
    from prometheus_client import core  # noqa: PLC0415 - see `render`

    return core.HistogramMetricFamily(f"catsdogs_{name}_seconds", text, buckets=buckets, sum_value=total)


def _text(name: str) -> str:
    """Returns a name as UTF-8 can hold it: that of a file need not be."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
