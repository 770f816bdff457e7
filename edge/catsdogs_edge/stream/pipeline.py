"""Turns the frames of sources into results, and hands them to sinks."""

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import replace

from catsdogs_edge.capture.frames import Frame, State
from catsdogs_edge.capture.moving_average import MovingAverage, weight_after
from catsdogs_edge.capture.sources import Source, open_source
from catsdogs_edge.errors import ExitCode, SourceError
from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.prediction import Prediction
from catsdogs_edge.output.terminal import counted
from catsdogs_edge.stream.frame_result import FrameResult, Sink
from catsdogs_edge.stream.merge import Results, merge
from catsdogs_edge.stream.model_file import ReplaceableModel, current
from catsdogs_edge.stream.motion import MotionDetector
from catsdogs_edge.stream.regions import Region
from catsdogs_edge.stream.smoothing import SmoothedPrediction, Smoother

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_WARNINGS = 60.0

_ALONE = nullcontext()  # the only one that asks the model


class StreamSummary:
    """Counts the frames of streams while they pass by.

    Attributes:
        classified: Frames that were classified, in one of their regions at least.
        still: Frames in which nothing moved.
        failed: Image files that could not be, and videos that end in the middle of a frame.
        dropped: Frames of a camera that nobody looked at.
    """

    def __init__(self) -> None:
        self.classified = self.still = self.failed = self.dropped = 0

    def count(self, result: FrameResult) -> None:
        """Counts one frame."""
        each = result.each()
        is_classified = any(part.prediction is not None for part in each)
        self.classified += is_classified
        self.still += not is_classified and all(part.moving is False for part in each)
        self.failed += bool(result.frame.error) and result.frame.state is State.LIVE
        self.dropped += result.frame.dropped

    @property
    def exit_code(self) -> ExitCode:
        """How the command ends."""
        return ExitCode.from_counts(self.classified, self.failed)

    def describe(self, source: str) -> str:
        """Describes the frames of a source in a few words."""
        parts = [f"{counted(self.classified, 'frame')} of {source}"]
        if self.still:
            parts.append(f"{self.still} more in which nothing moved")
        if self.dropped:
            parts.append(f"{self.dropped} dropped in between")
        if self.failed:
            parts.append(f"{self.failed} could not be classified")
        return ", ".join(parts)


def classify_stream(
    source: Source | str | int,
    classifier: Classifier | None = None,
    *,
    smoothing: float = 0.5,
    regions: Sequence[Region] = (),
    motion: bool = False,
) -> Results:
    """Yields what each frame of a source shows, one after the other.

    A camera does not end, and its silence is a result, too: one without a prediction, whose frame has the state and
    the reason. Frames that come while a result is looked at are dropped, so that each result is about the newest.

    Args:
        source: A camera's index, a URL, a video, a folder of images; see `open_source`. Closed at the end, or when
            nobody asks any more.
        classifier: The model; else the one that comes with catsdogs.
        smoothing: Time constant of `FrameResult.smoothed` in seconds; 0 takes each frame for itself.
        regions: Parts of the frame that are classified, each for itself; none: all of it.
        motion: Classify only what moves; see `FrameResult.moving`.

    Raises:
        SourceError: The source cannot be opened, holds no frame, or no such region.
        ModelError, ProviderError: See `Classifier`.
    """
    frames = FrameClassifier(classifier or Classifier.load(), smoothing=smoothing, regions=regions, motion=motion)
    yield from _classify_all(source, frames)


def classify_streams(
    sources: Sequence[Source],
    model: Classifier | ReplaceableModel,
    *,
    smoothing: float = 0.5,
    regions: Sequence[Region] = (),
    motion: bool = False,
) -> Results:
    """Returns what the frames of several sources show, as they come; each result says which `source`.

    They take turns at the model: one that is lost, or slow, holds up no other. Ends when all have ended. See
    `classify_stream`.
    """
    if len(sources) == 1:
        alone = FrameClassifier(model, smoothing=smoothing, regions=regions, motion=motion)
        return _classify_all(sources[0], alone)
    turn = threading.Lock()
    streams = []
    for source in sources:
        frames = FrameClassifier(
            model, smoothing=smoothing, regions=regions, motion=motion, source=source.name, turn=turn
        )
        streams.append(_classify_all(source, frames))
    return merge(streams)


def _classify_all(source: Source | str | int, frames: "FrameClassifier") -> Results:
    with closing(open_source(str(source)) if isinstance(source, str | int) else source) as opened:
        was_lost, frames.is_live = False, opened.live
        for frame in opened:
            is_lost = frame.state is State.LOST or (was_lost and frame.state is not State.LIVE)
            if is_lost and not was_lost:
                _log.warning("%s is lost: %s", opened.name, frame.error)
            elif was_lost and not is_lost:
                _log.info("%s is there again", opened.name)
            was_lost = is_lost
            yield frames.classify(frame)


def deliver(
    results: Iterable[FrameResult],
    sinks: Sequence[Sink],
    limit: int | None = None,
    *,
    summary: StreamSummary | None = None,
) -> StreamSummary:
    """Hands results to sinks until they end, a sink asks to stop, or `limit` of them are classified, or still.

    The sinks are closed at the end, in their order, whatever happens. `summary` counts what was done until then. Raises
    `OutputError` where a sink cannot write.
    """
    summary = summary or StreamSummary()
    with ExitStack() as stack:
        for sink in reversed(sinks):
            stack.callback(sink.close)
        for result in results:
            summary.count(result)
            go_on = [sink.write(result) for sink in sinks]  # all of them, before one ends the loop
            if not all(go_on) or summary.classified + summary.still == limit:
                break
    return summary


class FrameClassifier:
    """Turns the frames of one source into results, one after the other.

    Attributes:
        is_live: Whether frames come by themselves: then those that cannot be classified are stale.
    """

    def __init__(
        self,
        model: Classifier | ReplaceableModel,
        *,
        smoothing: float = 0.5,
        regions: Sequence[Region] = (),
        motion: bool = False,
        source: str = "",
        turn: AbstractContextManager[object] = _ALONE,
    ) -> None:
        """Takes what `classify_stream` takes; `source` is its name, where there are several, and `turn` their lock."""
        self._model = model
        self._classifier, self._sha256 = current(model)
        self._regions, self._smoothing, self._motion = regions or (None,), smoothing, motion
        self._views = self._make_views()
        self._source = source
        self._turn = turn
        self._rate = FrameRate()
        self._has_begun = False
        self._next_warning = 0.0
        self.is_live = False

    def classify(self, frame: Frame) -> FrameResult:
        """Classifies a frame, unless it says that it must not be; raises what `Classifier.predict` raises."""
        classifier, sha256 = current(self._model)
        if classifier is not self._classifier:  # what was seen before is what another one said
            self._classifier, self._sha256 = classifier, sha256
            self._views = self._make_views()
        base = FrameResult(frame=frame, fps=self._rate.now, source=self._source, model=self._sha256)
        if frame.rgb is None or frame.error:
            self._has_begun |= bool(self._source) and frame.rgb is None  # one of several that comes late ends no other
            return self._nothing(base)
        if frame.path:
            for view in self._views:
                view.reset()  # images have nothing to do with one another
        try:
            crops = [view.crop(frame.rgb) for view in self._views]
        except SourceError as error:
            if not self._has_begun:
                raise
            return self._failed(base, str(error))  # the camera sends another size
        self._has_begun = True
        moving = [view.moves(crop, frame.clock) for view, crop in zip(self._views, crops, strict=True)]
        asked = [crop for crop, moves in zip(crops, moving, strict=True) if moves is not False]
        start = time.perf_counter()
        with self._turn:
            predictions = self._classifier.classify(asked)
        latency = 1000 * (time.perf_counter() - start) if asked else 0.0
        if problem := next(filter(None, (prediction.problem for prediction in predictions)), ""):
            return self._failed(base, problem)
        base = replace(base, fps=self._rate.tick() if asked else self._rate.now, latency_ms=latency)
        answers = iter(predictions)
        found = [
            view.answer(base, None if moves is False else next(answers), moving=moves)
            for view, moves in zip(self._views, moving, strict=True)
        ]
        if found[0].region is None:
            return found[0]
        best = next((part for part in found if part.shows_class), found[0])
        return replace(best, regions=tuple(found))

    def _make_views(self) -> "list[_View]":
        return [_View(self._classifier, region, self._smoothing, motion=self._motion) for region in self._regions]

    def _failed(self, base: FrameResult, problem: str) -> FrameResult:
        """Says why a frame has no answer; a camera of which none has is not live, whoever looks at it."""
        now = time.monotonic()
        if now >= self._next_warning:
            _log.warning("%s: %s", self._source or "the source", problem)
            self._next_warning = now + _SECONDS_BETWEEN_WARNINGS
        state = State.STALE if self.is_live else base.frame.state
        return self._nothing(replace(base, frame=replace(base.frame, error=problem, state=state)))

    def _nothing(self, base: FrameResult) -> FrameResult:
        for view in self._views:
            view.reset()
        if self._views[0].region is None:
            return base
        return replace(base, regions=tuple(replace(base, region=view.region) for view in self._views))


class _View:
    """A region of the frames, or all of them, and what was seen there before."""

    def __init__(self, classifier: Classifier, region: Region | None, smoothing: float, *, motion: bool) -> None:
        self.region = region
        self._smoother = Smoother(classifier.contract.classes, smoothing, classifier.threshold)
        self._motion = MotionDetector() if motion else None
        self._held: SmoothedPrediction | None = None

    def reset(self) -> None:
        """Forgets what was seen."""
        self._smoother.reset()
        self._held = None
        if self._motion:
            self._motion.reset()

    def crop(self, rgb: RgbImage) -> RgbImage:
        """Returns its part of a frame."""
        return self.region.crop(rgb) if self.region else rgb

    def moves(self, crop: RgbImage, now: float) -> bool | None:
        """Returns whether something moves in it; None where nobody wants to know."""
        return self._motion.moves(crop, now) if self._motion else None

    def answer(self, base: FrameResult, prediction: Prediction | None, *, moving: bool | None) -> FrameResult:
        """Adds the answer to a result: a new one or, while nothing moves, the one before."""
        if prediction is not None:
            self._held = self._smoother.add(prediction, base.frame.clock)
        return replace(
            base,
            prediction=prediction,
            smoothed=self._held,
            moving=moving,
            region=self.region,
            latency_ms=base.latency_ms if prediction else 0.0,
        )


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
