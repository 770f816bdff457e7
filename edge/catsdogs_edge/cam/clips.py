"""A short video of each visit, from some seconds before it began, that any browser plays."""

import contextlib
import logging
import os
import queue
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from catsdogs_edge.capture.sources import OPENING
from catsdogs_edge.errors import OutputError
from catsdogs_edge.images.jpeg import encode_jpeg
from catsdogs_edge.output.files import sync
from catsdogs_edge.output.names import put_in_place
from catsdogs_edge.output.quota import Growth, Quota, timed_name, unfinished, write_whole
from catsdogs_edge.stream.frame_result import FrameResult
from catsdogs_edge.stream.pace import Pace
from catsdogs_edge.stream.regions import Region

_log = logging.getLogger(__name__)

LONGEST = 60.0
"""Seconds of a clip; a longer visit has several."""

_MOST_WAITING = 600  # frames that wait for the encoder; more are left out
_MOST_BYTES = 128 << 20  # of JPEGs that wait for it, and of those from before a visit
_LEAST_FPS, _MOST_FPS = 1.0, 30.0
_QUALITY = 85
_FRAMES_BETWEEN_LOOKS = 25  # at the size of the file, for the quota
_USUAL_FPS = 10.0
_A_WHILE = 0.05  # seconds until the encoder has done some
_LAST_WAIT = 30.0  # seconds that the encoder gets when the camera ends


@dataclass(frozen=True, slots=True)
class _Shot:
    """A frame as JPEG: of as many as fit into some seconds, pixels would take hundreds of megabytes."""

    clock: float
    jpeg: bytes


class Clips:
    """Writes `20261127-073012-cat.webm` (VP8), and a `.jpg` of its surest frame, for each visit of a class.

    Frames are as they came, nothing is drawn on them. Another thread encodes: the camera does not wait. A clip has its
    name once it is whole.
    """

    def __init__(
        self, quota: Quota, *, before: float, after: float, live: bool, fps: float = 0.0, source: str = ""
    ) -> None:
        """Takes the folder with its quota, and the seconds before and after a visit; `source` becomes part of names.

        Of a `live` source, frames are left out where the encoder does not keep up; a file waits for it. `fps` is the
        rate that the source promises, 0 for none.
        """
        self._quota, self._fps = quota, fps
        self._before, self._after = before, after
        self._source = source
        self._pace = Pace()
        self._recent: deque[_Shot] = deque()
        self._recent_bytes = 0
        self._has_warned = False
        self._open: _Open | None = None
        self._encoder = _Encoder(quota, live=live)

    def write(self, result: FrameResult) -> bool:
        """Takes a result; never asks to stop. Raises `OutputError` where a clip could not be written."""
        self._encoder.check()
        frame = result.frame
        present = [part for part in result.each() if part.shows_class]
        follows = frame.rgb is not None and self._pace.follows(frame.clock)
        if self._open:
            silent = frame.clock - self._open.last_seen
            goes_on = 0 <= silent <= self._after or (silent > 0 and follows and present)
            if not goes_on:  # nobody is there, the camera was lost, or has jumped
                self._end()
        self._quota.look()
        if frame.rgb is None:
            return True
        shot = _Shot(frame.clock, encode_jpeg(frame.rgb, _QUALITY))
        kinds = {(part.region, part.label) for part in present}
        if self._open and kinds and not kinds & self._open.kinds:  # another visit
            self._end()
        if self._open is None and present:
            self._begin(present[0])
        if self._open is None:
            self._remember(shot)
            return True
        self._encoder.put(shot)
        self._open.kinds |= kinds
        best = max((part.smoothed.probability for part in present if part.smoothed), default=0.0)
        if best > self._open.best:
            self._open.best, self._open.snapshot = best, shot.jpeg
        if present:
            self._open.last_seen = shot.clock
        if shot.clock - self._open.begun >= LONGEST:
            self._end()
        return True

    def _remember(self, shot: _Shot) -> None:
        self._recent.append(shot)
        self._recent_bytes += len(shot.jpeg)
        while shot.clock - self._recent[0].clock > self._before or shot.clock < self._recent[0].clock:
            self._forget_first()
        is_too_much = self._recent_bytes > _MOST_BYTES
        while self._recent_bytes > _MOST_BYTES:
            self._forget_first()
        if is_too_much and not self._has_warned:
            self._has_warned = True
            seconds = shot.clock - self._recent[0].clock if self._recent else 0
            _log.warning(
                "Clips begin %.0f s before a visit, not %.0f: more frames of this size would take over %d MB.",
                seconds, self._before, _MOST_BYTES >> 20,
            )  # fmt: skip

    def _forget_first(self) -> None:
        self._recent_bytes -= len(self._recent.popleft().jpeg)

    def _begin(self, first: FrameResult) -> None:
        if len(self._recent) > 1:  # else as it was before the clip before
            self._fps = (len(self._recent) - 1) / max(self._recent[-1].clock - self._recent[0].clock, 1e-3)
        fps = self._fps or _USUAL_FPS
        region = first.region.name if first.region else ""
        name = timed_name(first.frame.time, self._source, region, first.label)
        self._open = _Open(begun=first.frame.clock, last_seen=first.frame.clock)
        self._encoder.begin(f"{name}.webm", min(max(fps, _LEAST_FPS), _MOST_FPS))
        self._encoder.put(*self._recent)
        self._recent.clear()
        self._recent_bytes = 0

    def _end(self) -> None:
        if self._open:
            self._encoder.end(self._open.snapshot)
            self._open = None

    def close(self) -> None:
        """Ends the clip that goes on, and waits for the encoder; raises `OutputError` where a clip was not written."""
        self._end()
        self._encoder.close()
        removed = f"; {self._quota.removed} older went for the quota" if self._quota.removed else ""
        _log.info("Clips in %s: %d new%s.", self._quota.folder, self._encoder.written, removed)


@dataclass(slots=True)
class _Open:
    """A clip that goes on."""

    begun: float
    last_seen: float
    kinds: set[tuple[Region | None, str]] = field(default_factory=set)
    """Regions and labels of the visits that it shows: those of several regions at a time are in one clip."""
    best: float = 0.0
    snapshot: bytes = b""


class _Encoder:
    """A thread that turns JPEGs into videos, one after the other.

    Attributes:
        written: Clips that are whole.
    """

    def __init__(self, quota: Quota, *, live: bool) -> None:
        self._quota = quota
        self._live = live
        self._work: queue.Queue[tuple[str, float] | list[_Shot] | bytes | None] = queue.Queue()
        self._error: Exception | None = None
        self._left_out = 0
        self._taken = self._done = 0  # bytes; each is counted by one thread alone
        self.written = 0
        self._thread = threading.Thread(target=self._run, name="catsdogs-clips", daemon=True)
        self._thread.start()

    def begin(self, name: str, fps: float) -> None:
        """Begins a video."""
        self._work.put((name, fps))

    def put(self, *shots: _Shot) -> None:
        """Adds frames, unless too many wait: the one before them lasts longer then."""
        while self._work.qsize() >= _MOST_WAITING or self._taken - self._done >= _MOST_BYTES:
            if self._live:
                self._left_out += len(shots)
                return
            self.check()
            time.sleep(_A_WHILE)
        self._taken += sum(len(shot.jpeg) for shot in shots)
        self._work.put(list(shots))

    def end(self, snapshot: bytes) -> None:
        """Ends the video, and gives it a JPEG to be shown for it."""
        self._work.put(snapshot)

    def check(self) -> None:
        """Raises the error that the thread has met."""
        if self._error:
            raise self._error

    def close(self) -> None:
        """Waits until all is written; raises `OutputError` where it is not."""
        self._work.put(None)
        self._thread.join(_LAST_WAIT if self._live else None)  # who has a file has time
        if self._left_out:
            _log.warning("%d frames are missing in clips: this machine encodes too slowly.", self._left_out)
        if self._thread.is_alive():
            raise OutputError(f"{self._quota.folder}: the last clip was not whole after {_LAST_WAIT:.0f} s")
        self.check()

    def _run(self) -> None:
        video: _Video | None = None
        try:
            while (item := self._work.get()) is not None:
                if isinstance(item, tuple):
                    video = _Video(self._quota, *item)
                elif isinstance(item, list):
                    for shot in item:
                        if video:
                            video.write(shot)
                        self._done += len(shot.jpeg)
                elif video:
                    self.written += video.finish(item)
                    video = None
        except OSError as error:  # an OutputError, too
            is_ours = isinstance(error, OutputError)
            self._error = error if is_ours else OutputError(f"{self._quota.folder} cannot be written: {error.strerror}")
        except Exception as error:  # noqa: BLE001 - a bug: raised again, in the thread of the camera
            self._error = error
        finally:
            if video:
                video.abandon()


class _Video:
    """A WebM that is being written, under another name."""

    def __init__(self, quota: Quota, name: str, fps: float) -> None:
        self._quota = quota
        self._path, self._temporary = _free(quota.folder / name)
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._last = self._length = 0.0
        self._pace = Pace()
        self._size = (0, 0)
        self._written = 0
        self._growth = Growth(quota)

    def write(self, shot: _Shot) -> None:
        """Adds a frame for as long as it lasts: a video has a steady rate, and a camera has not."""
        bgr = np.asarray(simplejpeg.decode_jpeg(shot.jpeg, "BGR"), np.uint8)
        if self._writer is None:
            self._size, self._last = (bgr.shape[1] & ~1, bgr.shape[0] & ~1), shot.clock  # VP8 takes even sizes
            self._writer = cv2.VideoWriter(
                str(self._temporary), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"VP80"), self._fps, self._size
            )
            if not self._writer.isOpened():
                raise OutputError(f"{self._path}: OpenCV cannot write a video of {self._size[0]}x{self._size[1]} there")
        if (bgr.shape[1], bgr.shape[0]) != self._size:
            bgr = np.asarray(cv2.resize(bgr, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        self._length += min(max(shot.clock - self._last, 0.0), self._pace.patience)  # a silence is cut
        self._pace.follows(shot.clock)
        self._last = shot.clock
        until = round(self._length * self._fps) + 1
        while self._written < until and not self._growth.is_large:  # then the rest of the visit is left out
            self._writer.write(bgr)
            self._written += 1
            if self._written % _FRAMES_BETWEEN_LOOKS == 1:
                self._growth.check(self._temporary)

    def finish(self, snapshot: bytes) -> bool:
        """Gives the video its name once it is whole; raises `OutputError` where it is not.

        Returns False where there was no frame.
        """
        if self._writer is None:
            self.abandon()
            return False
        self._writer.release()
        self._writer = None
        if not _is_whole(self._temporary, self._written):
            self.abandon()
            raise OutputError(f"{self._path} does not hold its {self._written} frames: is the disk full, or a quota?")
        if self._growth.is_large:
            _log.warning("%s ends before its visit: it has grown to a quarter of the quota", self._path)
        self._quota.make_room(len(snapshot), keep=self._temporary)
        sync(self._temporary)
        try:
            write_whole(self._path.with_suffix(".jpg"), snapshot)
        finally:  # a video is worth keeping without its image
            put_in_place(self._temporary, self._path)
        sync(self._path.parent)
        return True

    def abandon(self) -> None:
        """Removes what is not whole."""
        if self._writer:
            self._writer.release()
            self._writer = None
        with contextlib.suppress(OSError):  # the disk may have gone
            self._temporary.unlink(missing_ok=True)


def _is_whole(path: Path, frames: int) -> bool:
    with OPENING:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count >= frames


def _free(path: Path) -> tuple[Path, Path]:
    """Returns the name, or the next one that is free, and the one until it is whole, which this makes.

    Two visits may begin in one second, also of two cameras, each of which has an encoder of its own.
    """
    for name in (path, *(path.with_stem(f"{path.stem}-{number}") for number in range(2, 1000))):
        if not os.path.lexists(name):
            with contextlib.suppress(FileExistsError):
                unfinished(name).open("xb").close()
                if not os.path.lexists(name):  # another encoder may have ended meanwhile
                    return name, unfinished(name)
                unfinished(name).unlink()
    raise OutputError(f"{path} and 998 names like it are taken: move them away")
