"""Counts for Prometheus; nothing is computed until somebody scrapes."""

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING

from catsdogs_edge.cam.frame_result import FrameResult
from catsdogs_edge.capture.frames import State
from catsdogs_edge.model.info import ModelInfo
from catsdogs_edge.web.history import Event
from catsdogs_edge.web.hub import Hub

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
        self._frames = Counter(dict.fromkeys(("classified", "dropped", "failed"), 0))
        self._labels: Counter[str] = Counter(dict.fromkeys(info.labels, 0))
        self._events: Counter[str] = Counter()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._inference, self._age = _Histogram(), _Histogram()
        self._last = 0.0
        self._state: State | None = None

    def add(self, result: FrameResult) -> None:
        """Counts a frame."""
        frame = result.frame
        with self._lock:
            self._state = frame.state
            self._frames["dropped"] += frame.dropped
            if result.prediction:
                self._frames["classified"] += 1
                self._labels[result.prediction.label] += 1
                self._inference.add(result.latency_ms / 1000)
                self._age.add(time.monotonic() - frame.captured)
                self._last = frame.time
            elif frame.state is State.LIVE:
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
        from prometheus_client import core  # noqa: PLC0415 - see `render`

        def gauge(name: str, text: str, value: float) -> "Metric":
            return core.GaugeMetricFamily(f"catsdogs_{name}", text, value=value)

        def counter(name: str, text: str, label: str, values: Counter[str]) -> "Metric":
            family = core.CounterMetricFamily(f"catsdogs_{name}", text, labels=[label])
            for value, count in sorted(values.items()):
                family.add_metric([value], count)
            return family

        about = {
            "version": version("catsdogs"),
            "model": self._info.path.name,
            "provider": self._info.provider,
            "precision": self._info.precision.value,
        }
        build = core.GaugeMetricFamily("catsdogs_build_info", "Which software, model and provider.", labels=[*about])
        build.add_metric([*about.values()], 1)
        yield build
        requests = core.CounterMetricFamily(
            "catsdogs_http_requests", "Requests by route and status code.", labels=["route", "code"]
        )
        with self._lock:
            for (route, code), count in sorted(self._requests.items()):
                requests.add_metric([route, str(code)], count)
            yield requests
            if self._hub is None:  # no camera
                return
            state = core.GaugeMetricFamily(
                "catsdogs_source_state", "1 for the state that the source is in.", labels=["state"]
            )
            for each in State:
                state.add_metric([each.value], float(each is self._state))
            yield state
            yield counter("frames", "Frames of the source, by what became of them.", "result", self._frames)
            yield counter("labels", "Classified frames by their label, each for itself.", "label", self._labels)
            yield counter("events", "Changes of what is shown, by what it is since.", "label", self._events)
            for name, text, histogram in (
                ("inference", "Resize and inference of a frame.", self._inference),
                ("frame_age", "From the capture of a frame to its answer.", self._age),
            ):
                yield core.HistogramMetricFamily(
                    f"catsdogs_{name}_seconds", text, buckets=histogram.cumulative(), sum_value=histogram.sum
                )
            yield gauge("last_frame_timestamp_seconds", "Capture time of the last classified frame.", self._last)
            yield gauge("viewers", "Requests that wait for frames now.", self._hub.viewers)
            yield core.CounterMetricFamily("catsdogs_encodes", "Images encoded for viewers.", value=self._hub.encodes)
