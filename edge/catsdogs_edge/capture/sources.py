"""Turns what the user typed into frames: cameras, streams, video files, images, raw frames on standard input."""

import logging
import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

import cv2
import numpy as np

from catsdogs_edge.capture.cameras import open_camera
from catsdogs_edge.capture.frames import Frame, Size, to_rgb
from catsdogs_edge.capture.live import LiveSource
from catsdogs_edge.errors import ImageError, SourceError
from catsdogs_edge.images.decode import EXTENSIONS, MOST_PIXELS, read
from catsdogs_edge.images.discovery import find_images, is_pattern
from catsdogs_edge.images.headers import too_many
from catsdogs_edge.output.files import is_utf8, read_text
from catsdogs_edge.output.terminal import redact

_log = logging.getLogger(__name__)

SCHEMES = frozenset({"http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"})
"""What a URL of a stream may begin with; FFmpeg knows others that open files or start programs."""

OPENING = threading.Lock()
"""Held while OpenCV's FFmpeg opens something: what it may open is said in the environment, which all threads share."""

_PROTOCOLS = ",".join(sorted(SCHEMES | {"crypto", "rtmpt", "tls"}))
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]")
_COUNTED = (b"ftyp", b"RIFF")  # containers that hold the number of their frames; others estimate it
_COUNTED_ENDINGS = frozenset({".avi", ".m4v", ".mov", ".mp4"})  # theirs
_OPEN_MS, _READ_MS = 10_000, 12_000  # timeouts of FFmpeg; no frame for 10 s is found before the second
_LONGEST_WAIT = 15.0  # seconds for others that are being opened, before one is opened again


class Source(Protocol):
    """Where frames come from; iterate it once, then close it.

    Attributes:
        name: What it calls itself in messages, without credentials.
        live: Frames come by themselves, and those that nobody takes are dropped; a file waits, and drops none.
        fps: Frames a second as the source promises them; 0 where it does not.
    """

    name: str
    live: bool = False
    fps: float = 0.0

    def __iter__(self) -> Iterator[Frame]:
        """Yields frames in order; raises `SourceError` where there is none, or the source ends in the middle of one."""

    def close(self) -> None:
        """Releases the device or file, if one is held open."""
        return


def open_source(source: str, *, raw: Size | None = None, size: Size | None = None, may_be_away: bool = False) -> Source:
    """Opens whatever a user may name; a camera or stream has delivered its first frame then.

    Args:
        source: A camera's index (`0`), path (`/dev/video0`) or name (`cam:C920`); a URL (`rtsp://`, `http://`, ...);
            a video; an image, folder, pattern or `@list`, as `find_images` takes them; `-` for standard input: a
            list of images, or with `raw`, frames. Where it is to stay secret, `env:NAME` or `file:PATH`: that
            variable, or the first line of that file, holds it.
        raw: Standard input holds RGB24 frames of this size, one after the other.
        size: That a camera is asked for; it may deliver another.
        may_be_away: Do not wait for a camera or stream: it may be lost at first, and is opened when it is there.

    Raises:
        SourceError: It cannot be opened.
    """
    secret = read_secret(source, "the source")
    try:
        return _open(secret, raw, size, may_be_away=may_be_away)
    except SourceError as error:
        if secret == source or secret.isdecimal():
            raise
        raise SourceError(str(error).replace(secret, source)) from None  # what was to stay secret is not told


def _open(source: str, raw: Size | None, size: Size | None, *, may_be_away: bool) -> Source:
    if source.startswith("file://"):
        source = url2pathname(urlsplit(source).path)
    if raw:
        if source != "-":
            raise SourceError(f"raw frames come from standard input: found '{source}', expected '-'")
        return RawFrames(sys.stdin.buffer, raw)
    if source.startswith("cam:") or (source.isdecimal() and len(source) < 6) or _is_device(source):
        camera = LiveSource(lambda: open_camera(source, size), f"camera {source}")
        return camera if may_be_away else camera.wait()
    if "://" in source:
        return _open_stream(source, may_be_away=may_be_away)
    if source == "-" or source.startswith("@") or os.path.isdir(source) or is_pattern(source):
        return ImageFiles(source)
    if source.casefold().endswith(".gif") and os.path.isfile(source):
        return VideoFile.open(source)
    if not os.path.isfile(source):
        raise SourceError(f"{source}: no such video or image (a camera is given by its index, such as 0)")
    return ImageFiles(source) if Path(source).suffix.lower() in EXTENSIONS else VideoFile.open(source)


def read_secret(text: str, what: str) -> str:
    """Returns what a text stands for, that processes of other users must not see in the command; see `open_source`.

    Raises `SourceError`, which says `what` was to be named.
    """
    kind, _, name = text.partition(":")
    if kind == "env" and name:
        if not os.environ.get(name):
            raise SourceError(f"the environment has no variable {name}, which is to name {what}")
        return os.environ[name]
    if kind == "file" and name and not name.startswith("//"):
        try:
            secret = read_text(Path(name)).strip().partition("\n")[0]
        except (OSError, ValueError) as error:
            raise SourceError(f"{name}, which is to name {what}, cannot be read: {error}") from error
        if not secret:
            raise SourceError(f"{name}, which is to name {what}, is empty")
        return secret
    return text


def _is_device(source: str) -> bool:
    try:
        return stat.S_ISCHR(Path(source).stat().st_mode) or source.startswith("/dev/video")
    except OSError:
        return source.startswith(("/dev/video", "/dev/v4l"))


def _open_stream(url: str, *, may_be_away: bool) -> Source:
    name = redact(url)
    scheme = url.partition("://")[0].casefold()
    if scheme not in SCHEMES:
        raise SourceError(f"{name}: found the scheme {scheme}, expected one of {', '.join(sorted(SCHEMES))}")

    def connect(longest_wait: float = _LONGEST_WAIT) -> cv2.VideoCapture:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_MS]
        with _limited_ffmpeg(name, longest_wait):
            capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            raise SourceError(f"{name} cannot be opened: is it running, and are address and password right?")
        _check_size(capture, name)
        return capture

    def connect_live() -> cv2.VideoCapture:
        capture = connect()
        if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
            capture.release()
            raise SourceError(f"{name} was not there at the start, and is a recording: start again to classify it")
        return capture

    if may_be_away:
        return LiveSource(connect_live, name, may_repeat=True)
    first = connect(longest_wait=-1)  # for ever: each is opened once at the start
    fps = first.get(cv2.CAP_PROP_FPS)
    if first.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        if first.get(cv2.CAP_PROP_FRAME_COUNT) == 1:
            _log.warning("%s is one image, no stream: it is classified once", name)
        counted = Path(urlsplit(url).path).suffix.lower() in _COUNTED_ENDINGS
        return VideoFile(first, name, counted=counted)  # it has an end: a recording, wherever it lies
    # The first connection goes on: some servers take one client only.
    waiting = [first]
    return LiveSource(
        lambda: waiting.pop() if waiting else connect(), name, fps=fps if 1 <= fps <= 240 else 0, may_repeat=True
    ).wait()


def _check_size(capture: cv2.VideoCapture, name: str) -> None:
    """Refuses frames that would take any memory: raises `SourceError`, and closes it."""
    pixels = capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    if pixels > MOST_PIXELS:
        capture.release()
        raise SourceError(f"a frame of {name} has {too_many(round(pixels), MOST_PIXELS)}")


@contextmanager
def _limited_ffmpeg(name: str, longest_wait: float) -> Iterator[None]:
    """Keeps a server from leading FFmpeg to files of this machine, or to other protocols, while a stream is opened.

    Raises `SourceError` where it is not this stream's turn in so many seconds: its driver must not seem to hang.
    """
    if not OPENING.acquire(timeout=longest_wait):  # the environment is that of all threads
        raise SourceError(f"{name} waits until other streams are opened")
    try:
        if _OPTIONS in os.environ:  # the user's own
            yield
            return
        # The first is OpenCV's default
        os.environ[_OPTIONS] = f"rtsp_flags;prefer_tcp|protocol_whitelist;{_PROTOCOLS}"
        try:
            yield
        finally:
            os.environ.pop(_OPTIONS, None)
    finally:
        OPENING.release()


class VideoFile(Source):
    """A recording: every frame, in order, none dropped."""

    def __init__(self, capture: cv2.VideoCapture, name: str, *, counted: bool = False) -> None:
        self.name = name
        self._counted = counted
        self.fps = max(capture.get(cv2.CAP_PROP_FPS), 0.0)
        self._capture = capture

    @classmethod
    def open(cls, path: str) -> "VideoFile":
        """Opens a file; raises `SourceError` where OpenCV's FFmpeg cannot, and for playlists, which lead elsewhere."""
        if not is_utf8(path):
            raise SourceError(f"{path}: OpenCV takes no name that is not UTF-8: give it another name")
        with Path(path).open("rb") as stream:
            start = stream.read(12)
        if start.startswith(_PLAYLISTS):
            raise SourceError(f"{path} is a playlist, expected a video: name the video itself")
        with OPENING:
            capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)  # noqa: PTH100 - a colon in it is no scheme
        if not capture.isOpened():
            raise SourceError(f"{path} is not a video that OpenCV's FFmpeg opens")
        _check_size(capture, path)
        return cls(capture, path, counted=start.startswith(_COUNTED) or start[4:8] in _COUNTED)

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        while True:
            delivered, bgr = self._capture.read()
            if not delivered:
                break
            position = self._position(number)
            yield Frame(number=number, rgb=to_rgb(np.asarray(bgr, np.uint8)), position=position)
            number += 1
        if number == 0:
            raise SourceError(f"{self.name} holds no frame that can be decoded")
        promised = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if self._counted and number < min(0.95 * promised, promised - 2):
            error = f"{number} frames can be decoded of {promised:.0f}: the video is cut short or damaged"
            yield Frame(number=number, rgb=None, position=position, error=error)

    def _position(self, number: int) -> float | None:
        """Returns the time of the frame that was read last, in seconds: as the container has it, or by its number."""
        seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if seconds > 0 or number == 0:
            return max(seconds, 0.0)
        return number / self.fps if self.fps else None  # a raw stream has no times

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()


class RawFrames(Source):
    """Frames of RGB24 from a pipe, such as FFmpeg's `-f rawvideo -pix_fmt rgb24 -`; none is dropped."""

    name = "standard input"

    def __init__(self, stream: BinaryIO, size: Size) -> None:
        self._stream = stream
        self._size = size

    def __iter__(self) -> Iterator[Frame]:
        shape = (self._size.height, self._size.width, 3)
        expected = shape[0] * shape[1] * shape[2]
        number = 0
        while len(data := self._stream.read(expected)) == expected:
            yield Frame(number=number, rgb=np.frombuffer(data, np.uint8).reshape(shape))
            number += 1
        if data or number == 0:
            raise SourceError(
                f"standard input ends after {number} frames and {len(data)} bytes, a frame of --raw "
                f"{self._size.width}x{self._size.height} has {expected}: is the size right, and the format rgb24?"
            )


class ImageFiles(Source):
    """Image files as frames; one that cannot be read is a frame without an image that says why."""

    def __init__(self, source: str) -> None:
        self.name = self._source = source

    def __iter__(self) -> Iterator[Frame]:
        number = -1
        for number, path in enumerate(find_images([self._source])):
            rgb, error = None, ""
            try:
                rgb = read(path)
            except ImageError as reason:
                error = str(reason)
            yield Frame(number=number, rgb=rgb, path=str(path), error=error)
        if number < 0:
            raise SourceError(f"{self.name} holds no images")
