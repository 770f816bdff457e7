"""Frames from a camera or a video file, through OpenCV."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import SourceError

BgrImage: TypeAlias = NDArray[np.uint8]
"""One frame as OpenCV captures, draws and shows it: shape (H, W, 3), BGR."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a camera or video."""

    number: int
    """Counted from 0."""
    time: float
    """When it was read, seconds since 1970 (UTC)."""
    bgr: BgrImage
    """uint8, shape (H, W, 3), BGR."""


class VideoSource:
    """An open camera or video file; use it in a `with` block, iterate it once.

    Attributes:
        name: How the source calls itself in messages: `camera 0`, or the file's path.
    """

    def __init__(self, capture: cv2.VideoCapture, name: str, *, live: bool) -> None:
        self.name = name
        self._capture = capture
        self._live = live

    @classmethod
    def open(cls, source: str) -> "VideoSource":
        """Opens a camera or a video file.

        Args:
            source: A camera index such as `0`, or the path of a video file.

        Raises:
            SourceError: It cannot be opened.
        """
        cv2.utils.logging.setLogLevel(0)  # OpenCV prints its own lines to standard error; ours says the same in one
        is_index = source.isdecimal() and len(source) < 6
        return cls._open_camera(int(source)) if is_index else cls._open_file(Path(source))

    @classmethod
    def _open_camera(cls, index: int) -> "VideoSource":
        # Named, because OpenCV would try GStreamer first, and wait for it.
        backend = {"linux": cv2.CAP_V4L2, "darwin": cv2.CAP_AVFOUNDATION, "win32": cv2.CAP_DSHOW}
        capture = cv2.VideoCapture(index, backend.get(sys.platform, cv2.CAP_ANY))
        if not capture.isOpened():
            raise SourceError(f"camera {index} cannot be opened: is it plugged in, and not used by another program?")
        # Uncompressed, many cameras reach 10 frames a second at most.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        return cls(capture, f"camera {index}", live=True)

    @classmethod
    def _open_file(cls, path: Path) -> "VideoSource":
        if not path.is_file():
            raise SourceError(f"{path}: no such video file (a camera is given by its index, such as 0)")
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise SourceError(f"{path} is not a video that OpenCV's FFmpeg opens")
        return cls(capture, str(path), live=False)

    def __enter__(self) -> "VideoSource":
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        """Gives the frames in order.

        Raises:
            SourceError: A camera stopped delivering, or a file holds no frame.
        """
        number = 0
        while True:
            delivered, bgr = self._capture.read()
            if not delivered:
                break
            yield Frame(number, time.time(), np.asarray(bgr, np.uint8))
            number += 1
        if self._live:
            raise SourceError(f"{self.name} stopped delivering after {number} frames: is it still plugged in?")
        if number == 0:
            raise SourceError(f"{self.name} holds no frame that can be decoded")
