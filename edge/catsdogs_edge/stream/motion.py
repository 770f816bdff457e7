"""Whether something moves: what does not move need not be classified again."""

import cv2
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.images.decode import RgbImage

_EDGE = 160  # pixels of the longer side that are looked at: a cat is still seen, a sensor's noise is averaged away
_SHARE = 0.004  # of them that must move: 77 of 160 x 120
_HISTORY = 300  # frames until what stays is background
_VARIANCE = 25.0  # squared distance from the background, in variances of its noise, that counts
_STARTING = 3  # frames from which the background is learned: they count as moving
_CHANGE = 24.0  # grey levels, beside what all of the frame gained or lost, that count
_GRAIN = np.ones((3, 3), np.uint8)  # what is thinner is noise

AFTERWARDS = 1.0
"""Seconds that a scene counts as moving after the last motion: the smoothed answer settles."""


class MotionDetector:
    """Compares each frame with a background that is learned from those before (MOG2: Zivkovic, ICPR 2004).

    And with the last one that was classified: where an animal is gone from one frame to the next, as in those that come
    once a second, the background is as it was before, and the answer is not.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets the background, as after a gap."""
        self._background = cv2.createBackgroundSubtractorMOG2(_HISTORY, _VARIANCE, detectShadows=False)
        self._until = 0.0
        self._seen = 0
        self._classified: NDArray[np.float32] | None = None
        self._shape: tuple[int, ...] = ()

    def moves(self, rgb: RgbImage, now: float) -> bool:
        """Takes the next frame, uint8 RGB (H, W, 3), at `now` seconds; returns whether it is to be classified."""
        if rgb.shape != self._shape:
            self.reset()
            self._shape = rgb.shape
        shrink = min(_EDGE / max(rgb.shape[:2]), 1.0)
        height, width = (max(round(shrink * edge), 1) for edge in rgb.shape[:2])
        small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        moving = cv2.morphologyEx(self._background.apply(grey), cv2.MORPH_OPEN, _GRAIN)
        self._seen += 1
        least = _SHARE * moving.size
        if self._seen <= _STARTING or cv2.countNonZero(moving) >= least or self._has_changed(grey, least):
            self._until = now + AFTERWARDS
        if now < self._until:
            self._classified = grey.astype(np.float32)
            return True
        return False

    def _has_changed(self, grey: NDArray[np.uint8], least: float) -> bool:
        """Returns whether so many pixels differ from the frame that the last answer is about."""
        if self._classified is None:
            return False
        gained = grey - self._classified
        changed = (np.abs(gained - np.median(gained)) > _CHANGE).astype(np.uint8)
        return cv2.countNonZero(cv2.morphologyEx(changed, cv2.MORPH_OPEN, _GRAIN)) >= least
