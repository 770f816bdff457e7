"""The newest frame of a camera or stream, and an honest word when there is none.

A thread of its own reads frames and keeps only the newest, because drivers and decoders queue them: who reads
slowly from the queue sees the past. When frames stop, the source says so (stale, lost, reconnecting) and opens
the device again, at growing intervals. A frame that is old, repeats itself or has one colour all over, as
drivers and decoders put in place of one that is missing, is marked as not to be classified.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from catsdogs_edge.capture.frames import BgrImage, Frame, State, to_rgb
from catsdogs_edge.capture.moving_average import MovingAverage
from catsdogs_edge.errors import SourceError
from catsdogs_edge.output.terminal import counted

HANGING = "hangs in its driver"
"""In the error of a frame: nothing but the end of the process helps."""

_NO_FRAME = "opens, but delivers no frame"

_LONGEST_CLOSE = 2.0  # seconds

_MAX_HANGING = 2  # threads that hang in a driver: each may hold the device open, so more attempts are useless


class Capture(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def read(self) -> tuple[bool, Any]:
        """Waits for a frame; False at the end."""

    def release(self) -> None:
        """Closes the device."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a source is taken for what, in seconds."""

    first: float = 20.0
    """Wait for the first frame before opening counts as failed."""
    stale: float = 2.0
    """Silence until a camera is stale; three times the usual interval where that is longer."""
    lost: float = 10.0
    """Silence until the connection is given up."""
    settled: float = 0.5
    """Time that frames must have come again after a silence: a decoder hands over what it still holds when its stream
    breaks off."""
    frozen: float = 5.0
    """Time of frames that are equal bit for bit until a camera counts as stuck; a sensor's noise never repeats."""
    retry: float = 0.5
    """Wait before the first attempt to reconnect; doubled each time, until a connection lasts longer than the wait."""
    longest_retry: float = 30.0
    """Longest wait between two attempts."""
    tick: float = 0.25
    """Interval of reports on the state while there are no frames."""


class LiveSource:
    """A camera or stream; iterate it once, then `close` it.

    Attributes:
        name: In messages; holds no credentials.
        fps: Frames a second as the device promises them; 0 where it does not.
    """

    live = True

    def __init__(
        self,
        connect: Callable[[], Capture],
        name: str,
        *,
        fps: float = 0.0,
        may_repeat: bool = False,
        timing: Timing | None = None,
    ) -> None:
        """Takes a way to open the device, and starts to read.

        Args:
            connect: Opens the device anew; called in the reading thread, as `read` and `release` are. Raises
                `SourceError` where it cannot.
            name: For messages.
            fps: Frames a second, 0 if unknown.
            may_repeat: The device may send equal frames: a stream of a still scene, unlike a camera's sensor.
            timing: When to say what.
        """
        self.name = name
        self.fps = fps
        self._connect = connect
        self._may_repeat = may_repeat
        self._timing = timing or Timing()
        self._grabber = _Grabber(connect, self._timing)
        self._abandoned: list[_Grabber] = []
        self._give_up = math.inf

    def wait(self) -> "LiveSource":
        """Waits for the first frame; raises `SourceError` where the device cannot be opened, or none comes."""
        if not self._grabber.wait(0, self._timing.first):
            self.close()
            raise SourceError(self._why_ended() or f"{self.name} delivers no frame in {self._timing.first:.0f} s")
        return self

    def _why_ended(self) -> str | None:
        """Returns why the connection has ended; None where it has not."""
        ended = self._grabber.ended
        if ended != _NO_FRAME:
            return ended
        is_camera = not self._may_repeat
        advice = "another program may use it, or the USB bus is full (catsdogs-cam --list tries each camera)"
        return f"{self.name} {_NO_FRAME}{f': {advice}' if is_camera else ''}"

    def close(self) -> None:
        """Releases the device, unless its driver hangs for two seconds: then it is released when that returns."""
        self._grabber.stop()
        self._give_up = min(self._give_up, time.monotonic() + _LONGEST_CLOSE)  # of the first call
        self._grabber.join(max(self._give_up - time.monotonic(), 0.0))

    def __iter__(self) -> Iterator[Frame]:
        """Yields the newest frame each time, or the state where there is none; never ends by itself."""
        timing = self._timing
        base, seen, delay = 0, 0, 0.0
        heard = began = time.monotonic()
        detector = FrozenFrameDetector(timing.frozen, may_repeat=self._may_repeat)
        while True:
            if not self._grabber.wait(seen, timing.tick) and self._grabber.ended is None:
                silent = time.monotonic() - heard
                if seen == 0 and delay:
                    yield _no_frame(base, State.RECONNECTING, f"{self.name} is being opened again")
                elif silent > self._grabber.patience:
                    yield _no_frame(base + seen, State.STALE, f"no frame for {silent:.0f} s")
                if silent <= max(timing.lost, timing.first if seen == 0 else 0.0):
                    continue
            elif (newest := self._grabber.newest()) and newest.count > seen:
                began = began if seen else newest.captured
                dropped, seen = newest.count - seen - 1, newest.count
                heard = newest.captured
                error = detector.reject_reason(newest.bgr, newest.captured)
                if not newest.is_settled:
                    error = "frames come again after a silence: is it the rest of a stream that broke off?"
                if time.monotonic() - newest.captured > timing.stale:
                    error = "the newest frame is old"
                state = State.STALE if error else State.LIVE
                yield Frame(
                    number=base + seen - 1, rgb=to_rgb(newest.bgr), time=newest.time, captured=newest.captured,
                    state=state, dropped=dropped, error=error,
                )  # fmt: skip
                continue
            self._grabber.stop()  # not `join`: it may hang in the driver, and releases the device when it returns
            self._abandoned = [grabber for grabber in (*self._abandoned, self._grabber) if grabber.is_alive()]
            has_lasted = heard - began > delay  # longer than it was waited for
            delay = timing.retry if has_lasted or not delay else min(2 * delay, timing.longest_retry)
            yield from self._lost(base + seen, delay)
            while sum(grabber.is_alive() for grabber in self._abandoned) >= _MAX_HANGING:
                yield _no_frame(base + seen, State.LOST, f"{self.name} {HANGING}")
                time.sleep(timing.tick)
            base, seen = base + seen, 0
            heard = began = time.monotonic()
            self._grabber = _Grabber(self._connect, timing)
            yield _no_frame(base, State.RECONNECTING, f"{self.name} is being opened again")

    def _lost(self, number: int, delay: float) -> Iterator[Frame]:
        """Yields that the connection has ended, until the next attempt is due."""
        reason = self._why_ended() or f"{self.name} does not answer"
        end = time.monotonic() + delay
        while (left := end - time.monotonic()) > 0:
            yield _no_frame(number, State.LOST, f"next attempt in {left:.1f} s: {reason}")
            time.sleep(min(self._timing.tick, max(end - time.monotonic(), 0.0)))


def _no_frame(number: int, state: State, error: str) -> Frame:
    return Frame(number=number, rgb=None, state=state, error=error)


@dataclass(frozen=True, slots=True)
class _Grabbed:
    """The newest frame of a device, uint8 BGR (H, W, 3)."""

    bgr: BgrImage
    count: int
    time: float
    captured: float
    is_settled: bool
    """Whether it follows a silence by no less than `Timing.settled`, if there was any."""


class _Grabber(threading.Thread):
    """Opens the device, reads until it ends or is told to stop, and releases it: all in this thread.

    Releasing a capture while another thread reads from it crashes OpenCV.
    """

    def __init__(self, connect: Callable[[], Capture], timing: Timing) -> None:
        super().__init__(name="catsdogs-grab", daemon=True)  # one that hangs must not keep the process
        self.ended: str | None = None
        self._timing = timing
        self._interval = 0.0
        self._average: MovingAverage[float] = MovingAverage()
        self._connect = connect
        self._changed = threading.Condition()
        self._newest: _Grabbed | None = None
        self._stopping = False
        self.start()

    def run(self) -> None:
        """Reads until the device ends, and keeps the reason."""
        reason = "it ended by an error of ours"
        try:
            reason = self._read()
        except SourceError as error:
            reason = str(error)
        finally:
            with self._changed:
                self.ended = reason
                self._changed.notify_all()

    def _read(self) -> str:
        capture = self._connect()
        try:
            count, settled = 0, 0.0
            while not self._stopping:
                delivered, bgr = capture.read()
                if not delivered or bgr is None:
                    return f"it stopped delivering after {counted(count, 'frame')}" if count else _NO_FRAME
                count += 1
                now = time.monotonic()
                with self._changed:
                    if self._newest:
                        silent = now - self._newest.captured
                        if silent > self.patience:
                            settled = now + self._timing.settled
                        self._interval = self._average.add(silent, 0.1)
                    self._newest = _Grabbed(bgr, count, time.time(), now, now >= settled)
                    self._changed.notify_all()
            return "it was closed"
        finally:
            capture.release()

    @property
    def patience(self) -> float:
        """Seconds of silence until the device is stale."""
        return max(self._timing.stale, 3 * self._interval)

    def wait(self, seen: int, seconds: float) -> bool:
        """Waits for a frame after number `seen`; False if none came, or the device has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self.ended is not None or self._count() > seen, seconds)
            return self._count() > seen

    def newest(self) -> _Grabbed | None:
        """Returns the newest frame; None before the first."""
        with self._changed:
            return self._newest

    def _count(self) -> int:
        return self._newest.count if self._newest else 0

    def stop(self) -> None:
        """Asks the thread to end after the frame that it waits for."""
        self._stopping = True


class FrozenFrameDetector:
    """Finds frames that drivers and decoders put in the place of one that is missing.

    Equal frames for `frozen` seconds are a camera that is stuck, unless the source `may_repeat`: a stream of a still
    scene.
    """

    def __init__(self, frozen: float, *, may_repeat: bool) -> None:
        self._frozen = frozen
        self._may_repeat = may_repeat
        self._last: BgrImage | None = None
        self._since = 0.0

    def reject_reason(self, bgr: BgrImage, captured: float) -> str:
        """Returns why a frame, uint8 (H, W, 3), captured at some second, must not be classified; or nothing."""
        sample = bgr[::8, ::8]
        if int((sample.max(axis=(0, 1)) - sample.min(axis=(0, 1))).max()) <= 4:
            return "a blank frame: one colour all over"
        if self._may_repeat:
            return ""
        last, self._last = self._last, bgr
        if last is None or not (np.array_equal(sample, last[::8, ::8]) and np.array_equal(last, bgr)):
            self._since = captured
        stuck = captured - self._since
        return f"the same frame for {stuck:.0f} s" if stuck > self._frozen else ""
