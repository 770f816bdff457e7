"""What a source delivers: frames, and in their absence the state that it is in."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from time import monotonic
from time import time as wall_clock
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.images.decode import MOST_PIXELS, RgbImage

BgrImage: TypeAlias = NDArray[np.uint8]
"""One frame as OpenCV captures, draws and shows it: uint8, shape (H, W, 3), BGR."""


class State(StrEnum):
    """How a camera or stream is doing; files are always live."""

    LIVE = "live"
    STALE = "stale"
    """Connected, but no fresh image: none came, or one that repeats itself, shows one colour, fits no region, or comes
    within half a second of a silence."""
    LOST = "lost"
    RECONNECTING = "reconnecting"


@dataclass(frozen=True, slots=True)
class Size:
    """The size of frames."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> "Size":
        """Reads `640x480`; raises `ValueError` for something else."""
        if not (match := re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)):
            raise ValueError(f"'{text}' is no size, expected WIDTHxHEIGHT in pixels, such as 640x480")
        size = cls(int(match[1]), int(match[2]))
        if size.width * size.height > MOST_PIXELS:
            raise ValueError(f"'{text}' has {size.width * size.height} pixels, expected {MOST_PIXELS} at most")
        return size


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One image, or the news that there is none now."""

    number: int
    """Counted from 0 by the source; those that were dropped count, too."""
    rgb: RgbImage | None
    """uint8, shape (H, W, 3), RGB; None where there is no image."""
    time: float = field(default_factory=wall_clock)
    """Capture time, seconds since 1970 (UTC)."""
    captured: float = field(default_factory=monotonic)
    """Capture time on the clock of `time.monotonic`, in seconds."""
    state: State = State.LIVE
    dropped: int = 0
    """Frames that were captured since the one before and not delivered; always 0 for files."""
    position: float | None = None
    """Seconds from the start of a video; None for all others."""
    path: str = ""
    """The image file; empty for all others."""
    error: str = ""
    """Why this frame must not be classified; empty where it may be."""

    @property
    def iso_time(self) -> str:
        """When it was captured: ISO 8601, UTC, to the millisecond."""
        return iso_time(self.time)

    @property
    def is_recorded(self) -> bool:
        """Whether it comes from a video or an image file."""
        return bool(self.path) or self.position is not None

    @property
    def clock(self) -> float:
        """Seconds on the clock of the scene: the position in a video, else when it was captured."""
        return self.captured if self.position is None else self.position


def iso_time(moment: float) -> str:
    """Returns a time in seconds since 1970 as ISO 8601, UTC, to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def to_rgb(bgr: BgrImage) -> RgbImage:
    """Turns what OpenCV captured, uint8 BGR (H, W, 3), into RGB."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def to_bgr(rgb: RgbImage) -> BgrImage:
    """Turns uint8 RGB (H, W, 3) into what OpenCV draws on, shows and encodes."""
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), np.uint8)
