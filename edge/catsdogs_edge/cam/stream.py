"""Classifies the frames of a source, one after the other."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

from catsdogs_edge.cam.frame_result import FrameResult, Sink
from catsdogs_edge.cam.smoothing import Smoother
from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.capture.moving_average import MovingAverage, weight_after
from catsdogs_edge.capture.sources import Source, open_source
from catsdogs_edge.errors import ExitCode
from catsdogs_edge.model.classifier import Classifier


class StreamSummary:
    """Counts the frames of a stream while they pass by.

    Attributes:
        classified: Frames that were classified.
        failed: Image files that could not be.
        dropped: Frames of a camera that nobody looked at.
    """

    def __init__(self) -> None:
        self.classified = self.failed = self.dropped = 0

    def count(self, result: FrameResult) -> None:
        """Counts one frame."""
        self.classified += result.prediction is not None
        self.failed += bool(result.frame.error) and result.frame.state is State.LIVE
        self.dropped += result.frame.dropped

    @property
    def exit_code(self) -> ExitCode:
        """How the command ends."""
        return ExitCode.from_counts(self.classified, self.failed)

    def describe(self) -> str:
        """Describes the frames in a few words."""
        parts = [f"{self.classified} frames"]
        if self.dropped:
            parts.append(f"{self.dropped} dropped in between")
        if self.failed:
            parts.append(f"{self.failed} could not be classified")
        return ", ".join(parts)


def classify_stream(
    source: Source | str | int, classifier: Classifier | None = None, *, smoothing: float = 0.5
) -> Iterator[FrameResult]:
    """Yields what each frame of a source shows, one after the other.

    A camera does not end, and its silence is a result, too: one without a prediction, whose frame has the state and
    the reason. Frames that come while a result is looked at are dropped, so that each result is about the newest.

    Args:
        source: A camera's index, a URL, a video, a folder of images; see `open_source`. Closed at the end, or when
            nobody asks any more.
        classifier: The model; else the one that comes with catsdogs.
        smoothing: Time constant of `FrameResult.smoothed` in seconds; 0 takes each frame for itself.

    Raises:
        SourceError: The source cannot be opened, or holds no frame.
        ModelError, ProviderError: See `Classifier`.
    """
    classifier = classifier or Classifier.load()
    smoother = Smoother(classifier.contract.classes, smoothing, classifier.threshold)
    rate = FrameRate()
    with closing(open_source(str(source)) if isinstance(source, str | int) else source) as opened:
        for frame in opened:
            yield classify_frame(classifier, smoother, rate, frame)


def deliver(results: Iterable[FrameResult], sinks: Sequence[Sink], limit: int | None = None) -> StreamSummary:
    """Hands results to sinks until they end, a sink asks to stop, or `limit` of them are classified.

    The sinks are closed at the end, in their order, whatever happens. Raises `OutputError` where one cannot write.
    """
    summary = StreamSummary()
    with ExitStack() as stack:
        for sink in reversed(sinks):
            stack.callback(sink.close)
        for result in results:
            summary.count(result)
            go_on = [sink.write(result) for sink in sinks]  # all of them, before one ends the loop
            if not all(go_on) or summary.classified == limit:
                break
    return summary


def classify_frame(classifier: Classifier, smoother: Smoother, rate: "FrameRate", frame: Frame) -> FrameResult:
    """Classifies a frame, unless it says that it must not be."""
    if frame.rgb is None or frame.error:
        smoother.reset()
        return FrameResult(frame=frame, fps=rate.now)
    start = time.perf_counter()
    prediction = classifier.classify(frame.rgb)
    latency = 1000 * (time.perf_counter() - start)
    if prediction.problem:
        smoother.reset()
        return FrameResult(frame=replace(frame, error=prediction.problem), fps=rate.now)
    if frame.path:
        smoother.reset()  # images have nothing to do with one another
    smoothed = smoother.add(prediction, frame.clock)
    return FrameResult(frame=frame, prediction=prediction, smoothed=smoothed, latency_ms=latency, fps=rate.tick())


class FrameRate:
    """Classified frames a second, averaged over about a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self._last = 0.0
        self._gap: MovingAverage[float] = MovingAverage()

    def tick(self) -> float:
        """Counts a frame and returns the rate."""
        moment = time.monotonic()
        if self._last:
            gap = moment - self._last
            self.now = 1 / max(self._gap.add(gap, weight_after(gap, 1.0)), 1e-6)
        self._last = moment
        return self.now
