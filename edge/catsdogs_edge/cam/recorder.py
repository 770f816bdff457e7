"""Keeps what was seen: as a video, and as images."""

import logging
import math
import os
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from catsdogs_edge.cam.changes import ChangeDetector
from catsdogs_edge.cam.options import SaveWhen
from catsdogs_edge.cam.overlay import Annotator
from catsdogs_edge.capture.frames import BgrImage
from catsdogs_edge.capture.sources import OPENING
from catsdogs_edge.errors import OutputError
from catsdogs_edge.images.jpeg import fit
from catsdogs_edge.model.contract import NEITHER
from catsdogs_edge.output.files import atomic_file, check_writable, is_utf8, make_folder, write_errors
from catsdogs_edge.output.names import FreeNames, reserve, reserved
from catsdogs_edge.output.quota import Growth, Quota, timed_name
from catsdogs_edge.stream.frame_result import FrameResult, Sink
from catsdogs_edge.stream.pace import Pace

_log = logging.getLogger(__name__)

_CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP80"}  # that OpenCV's own FFmpeg can write
_FPS = 25.0  # of the video where the source promises none
_LEAST_SHARE = 0.9  # of the frames that must be in the file at the end
_SECONDS_TO_GROW = 30.0  # then it is looked at why not
_PROBE = 2**20  # bytes: more than FFmpeg writes at a time
_MOST_UNWRITTEN = 10_000  # frames that FFmpeg may keep: of a still scene, more than it does
_SECONDS_BETWEEN_LOOKS = 1.0  # at the size of a folder
_SECONDS_BETWEEN_UNSURE = 1.0

SEGMENT_SECONDS = 600.0
"""Of a recording into a folder: a file."""

SAVE_BELOW = 0.8
"""Probability of an answer below which it is worth a look."""

_ROOM = 4 * 2**20  # bytes that must stay free: OpenCV does not report a full disk, and the file needs its end


class Recorder:
    """A video of the frames with the answer drawn on them, as the window shows them.

    A video has a steady frame rate and a camera has not: a frame is repeated or left out, so that the video
    lasts as long as what it shows. Of a recording every frame is written once.

    Attributes:
        path: The file; where that was there before the first frame, one of another name from then on.
    """

    def __init__(self, path: Path, annotator: Annotator, fps: float, *, live: bool) -> None:
        """Prepares a file of the given ending and rate (0: unknown); the first frame makes it, and sets its size.

        After a power cut .mkv and .avi can still be played. Raises `OutputError` for another ending or a place that
        cannot be written.
        """
        if path.suffix.lower() not in _CODECS:
            raise OutputError(f"{path}: a video's name ends with {', '.join(_CODECS)}")
        if path.is_dir():
            raise OutputError(f"{path} is a folder, expected the name of a video")
        if not is_utf8(path):
            raise OutputError(f"{path}: OpenCV takes no name that is not UTF-8: take another one")
        make_folder(path.parent)
        check_writable(path.parent)
        self.path = path.absolute()
        self._annotator = annotator
        self._fps = fps or _FPS
        self._live = live
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._last = 0.0
        self._owed = 0.0
        self._pace = Pace()
        self._written = 0
        self._size_before = self._written_before = 0
        self._next_look = 0.0

    def write(self, result: FrameResult) -> bool:
        """Adds a frame; never asks to stop. Raises `OutputError` where the disk is nearly full."""
        if self._writer is None:
            if result.frame.rgb is None:
                return True
            self._open(result.frame.rgb.shape[1], result.frame.rgb.shape[0])
        image = self._annotator.annotate(result)
        if (image.shape[1], image.shape[0]) != self._size:
            image = np.asarray(cv2.resize(image, self._size, interpolation=cv2.INTER_AREA), np.uint8)
        for _ in range(self._times()):
            assert self._writer is not None  # noqa: S101 - for mypy; opened above
            self._writer.write(image)
            self._written += 1
        if shutil.disk_usage(self.path.parent).free < _ROOM:
            raise OutputError(f"{self.path}: the disk is nearly full; the video ends here, and can be played")
        self._check_growth()
        return True

    def _check_growth(self) -> None:
        """Finds out that nothing arrives any more: OpenCV does not report a quota, or a limit on files.

        FFmpeg writes 256 KB at a time, which is minutes of a still scene: so it is tried whether more can be written.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        if not self.path.exists():
            raise OutputError(f"{self.path} is gone: the recording ends")
        size = self.path.stat().st_size
        if size > self._size_before:
            self._size_before, self._written_before = size, self._written
        elif reason := _why_no_more(self.path.parent, size):
            raise OutputError(f"{self.path} does not grow any more ({size} bytes): {reason}")
        elif self._written - self._written_before > _MOST_UNWRITTEN:
            raise OutputError(f"{self.path} does not grow any more ({size} bytes): FFmpeg writes nothing")
        self._next_look = now + _SECONDS_TO_GROW

    def _open(self, width: int, height: int) -> None:
        self._size = (width, height)
        wanted = self.path
        with write_errors(wanted):
            self.path = reserve(FreeNames().candidates(wanted))
        if self.path != wanted:
            _log.info("%s is there already: the video goes to %s.", wanted, self.path.name)
        codec = cv2.VideoWriter.fourcc(*_CODECS[self.path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(self.path), cv2.CAP_FFMPEG, codec, self._fps, self._size)
        if not self._writer.isOpened():
            raise OutputError(f"{self.path}: OpenCV cannot write a video of {self._size[0]}x{self._size[1]} there")
        self._last = time.monotonic()
        self._next_look = self._last + _SECONDS_TO_GROW
        self._owed = 1.0

    def _times(self) -> int:
        """Returns how often the frame is to be written: as often as time has passed for."""
        if not self._live:
            return 1
        now = time.monotonic()
        self._owed += min(now - self._last, self._pace.patience) * self._fps  # a silence is cut
        self._pace.follows(now)
        self._last = now
        times = int(self._owed)
        self._owed -= times
        return times

    def close(self) -> None:
        """Ends the file, so that it can be played; raises `OutputError` where it lacks what was written to it."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        with OPENING:
            capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        late = max(int(_LEAST_SHARE * self._written) - 2, 0)  # its header promises all of them, whatever has arrived
        capture.set(cv2.CAP_PROP_POS_FRAMES, late)
        is_whole = capture.read()[0] and capture.get(cv2.CAP_PROP_POS_FRAMES) > late
        capture.release()
        if not is_whole:
            frames = f"the {self._written} frames that were written"
            raise OutputError(f"{self.path} does not hold {frames}: is there a quota, or a limit on files?")


def _why_no_more(folder: Path, size: int) -> str:
    """Returns why a file of that size cannot grow there; empty where it can."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not on Windows

        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if limit != resource.RLIM_INFINITY and size + _PROBE > limit:
            return f"the limit on files is {limit} bytes (ulimit -f)"
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            if probe.write(bytes(_PROBE)) < _PROBE:  # the disk took a part
                return "there is room for a part of a megabyte only"
            os.fsync(probe.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return ""


class Segments:
    """A recording without an end: videos of ten minutes each, of which the oldest go when the quota is reached."""

    def __init__(self, quota: Quota, annotator: Annotator, fps: float, *, live: bool) -> None:
        """Takes what `Recorder` takes, and a folder with its quota in place of a name."""
        self._quota = quota
        self._open_file = partial(Recorder, annotator=annotator, fps=fps, live=live)
        self._recorder: Recorder | None = None
        self._growth = Growth(quota)
        self._begun = self._next_look = 0.0

    def write(self, result: FrameResult) -> bool:
        """Adds a frame; never asks to stop. Raises `OutputError` as `Recorder.write` does."""
        now = result.frame.clock
        if self._recorder and (self._growth.is_large or not 0 <= now - self._begun < SEGMENT_SECONDS):
            self._recorder.close()
            self._recorder = None
        if self._recorder is None:
            path = self._quota.folder / f"{timed_name(result.frame.time, 'record')}.mkv"
            self._recorder, self._growth = self._open_file(path), Growth(self._quota)
            self._begun = now
        if time.monotonic() >= self._next_look:
            self._growth.check(self._recorder.path)
            self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        return self._recorder.write(result)

    def close(self) -> None:
        """Ends the last file; see `Recorder.close`."""
        if self._recorder:
            self._recorder.close()


class AnnotatedFrames(Sink):
    """Frames as JPEGs with the answer drawn on them: `000012-cat.jpg`, or `beach-cat.jpg` of a file."""

    def __init__(self, folder: Path, annotator: Annotator, when: SaveWhen = SaveWhen.ALL) -> None:
        """Takes the folder, and which frames are saved."""
        make_folder(folder)
        self._folder = folder
        self._when = when
        self._changes = ChangeDetector()
        self._next_unsure = -math.inf
        self._names = FreeNames()
        self._annotator = annotator
        self._saved = 0

    def _wants(self, result: FrameResult) -> bool:
        change = self._changes.add(result)
        if result.smoothed is None or result.prediction is None:
            return False
        if self._when is SaveWhen.UNSURE:
            now = result.frame.clock
            if result.prediction.probability >= SAVE_BELOW or now < self._next_unsure:
                return False
            self._next_unsure = now + _SECONDS_BETWEEN_UNSURE if not result.frame.path else -math.inf
            return True
        if self._when is SaveWhen.ALL:
            return True
        return change is not None and (self._when is SaveWhen.CHANGES or change.label != NEITHER)

    def write(self, result: FrameResult) -> bool:
        """Saves a frame; never asks to stop. See `Sink.write`."""
        if self._wants(result) and result.smoothed is not None:
            stem = Path(result.frame.path).stem if result.frame.path else f"{result.frame.number:06}"
            names = self._names.candidates(self._folder / f"{stem}-{result.smoothed.label}.jpg")
            with write_errors(self._folder), reserved(names) as path:
                save_image(self._annotator.annotate(result), path)
            self._saved += 1
        return True

    def close(self) -> None:
        """Says how many were saved."""
        _log.info("Frames saved in %s: %d.", self._folder, self._saved)


def save_image(bgr: BgrImage, path: Path) -> None:
    """Writes uint8 BGR (H, W, 3) in the format of the name, whole or not at all; its folder must exist."""
    _, data = cv2.imencode(path.suffix, fit(bgr))
    with atomic_file(path) as temporary:
        temporary.write_bytes(data.tobytes())
