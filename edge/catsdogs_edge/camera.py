"""Classifies the frames of a source, one after the other."""

import time
from collections.abc import Sequence
from contextlib import ExitStack

import cv2
import numpy as np

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.frames import Frame, State
from catsdogs_edge.sightings import Sighting, Sink
from catsdogs_edge.smoothing import Smoother
from catsdogs_edge.sources import Source


class Watched:
    """What came of it.

    Attributes:
        classified: Frames that were classified.
        failed: Picture files that could not be.
        dropped: Frames of a camera that nobody looked at.
    """

    def __init__(self) -> None:
        self.classified = self.failed = self.dropped = 0

    def count(self, sighting: Sighting) -> None:
        """Takes one into account."""
        self.classified += sighting.prediction is not None
        self.failed += bool(sighting.frame.error) and sighting.frame.state is State.LIVE
        self.dropped += sighting.frame.dropped

    @property
    def exit_code(self) -> int:
        """0 all fine, 3 some pictures failed, 1 nothing could be classified."""
        if not self.classified:
            return 1
        return 3 if self.failed else 0

    def describe(self) -> str:
        """Says it in a few words."""
        parts = [f"{self.classified} frames"]
        if self.dropped:
            parts.append(f"{self.dropped} dropped in between")
        if self.failed:
            parts.append(f"{self.failed} could not be classified")
        return ", ".join(parts)


def watch(
    classifier: Classifier, source: Source, sinks: Sequence[Sink], *, smoothing: float = 0.0, limit: int | None = None
) -> Watched:
    """Classifies frames until the source ends, a sink asks to stop, or `limit` is reached.

    Args:
        classifier: The model.
        source: An open source; closed at the end, whatever happens.
        sinks: Where each frame goes; closed after it, in their order.
        smoothing: Time constant in seconds; 0 takes each frame for itself.
        limit: Number of classified frames; None for all.

    Raises:
        SourceError: The source holds no frame.
        OutputError: A sink cannot write.
    """
    watched = Watched()
    smoother = Smoother(classifier.contract.classes, smoothing, classifier.threshold)
    rate = _Rate()
    with ExitStack() as stack:
        for sink in reversed(sinks):
            stack.callback(sink.close)
        stack.callback(source.close)
        for frame in source:
            sighting = _look(classifier, smoother, rate, frame)
            watched.count(sighting)
            go_on = [sink.write(sighting) for sink in sinks]  # all of them, before one ends the loop
            if not all(go_on) or watched.classified == limit:
                break
    return watched


def _look(classifier: Classifier, smoother: Smoother, rate: "_Rate", frame: Frame) -> Sighting:
    """Classifies a frame, unless it says that it must not be."""
    if frame.bgr is None or frame.error:
        smoother.reset()
        return Sighting(frame, None, None, 0.0, rate.now)
    start = time.perf_counter()
    rgb = np.asarray(cv2.cvtColor(frame.bgr, cv2.COLOR_BGR2RGB), np.uint8)
    (prediction,) = classifier.classify([rgb])
    latency = 1000 * (time.perf_counter() - start)
    if frame.path:
        smoother.reset()  # pictures have nothing to do with one another
    steady = smoother.add(prediction, frame.clock)
    return Sighting(frame, prediction, steady, latency, rate.tick())


class _Rate:
    """Classified frames a second, averaged over about a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self._last = 0.0
        self._gap = 0.0

    def tick(self) -> float:
        """Counts one; gives the rate."""
        moment = time.monotonic()
        if self._last:
            gap = moment - self._last
            self._gap = self._gap + min(gap, 1.0) * (gap - self._gap) if self._gap else gap
            self.now = 1 / max(self._gap, 1e-6)
        self._last = moment
        return self.now
