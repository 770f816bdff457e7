"""Tells near copies of an image: frames of a still scene, or one image saved anew."""

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.images.decode import RgbImage, resize

EDGE = 16
"""Rows and columns of a thumbnail."""

NEAR_COPY = 4.0
"""Mean absolute difference of the thumbnails of two near copies, in grey levels (0 to 255), less what all of the image
gained or lost in light. Frames of a still scene differ by less than 1, whatever the noise of the sensor; an animal that
takes a twentieth of the frame makes 5 where it comes, and 10 where it is in another place."""


def thumbnail(image: RgbImage) -> bytes:
    """Returns what is left of uint8 RGB (H, W, 3) in `EDGE` x `EDGE` pixels."""
    return resize(image, EDGE).tobytes()


class SeenImages:
    """Remembers thumbnails, the newest of them, and finds near copies.

    A perceptual hash would be smaller; but of a plain scene, such as a wall at night, the noise of the sensor decides a
    quarter of its bits.
    """

    def __init__(self, known: Iterable[bytes] = (), most: int = 2000) -> None:
        """Begins with some; those of another length are left out."""
        self._rows: deque[NDArray[np.float32]] = deque(maxlen=most)
        for one in known:
            if len(one) == 3 * EDGE * EDGE:
                self.add(one)

    def add(self, one: bytes) -> None:
        """Remembers a thumbnail."""
        self._rows.append(centre(one))

    def has_near_copy(self, one: bytes) -> bool:
        """Returns whether one that is remembered is a near copy."""
        if not self._rows:
            return False
        return bool(find_near(np.stack(self._rows), centre(one)).any())


def centre(one: bytes) -> NDArray[np.float32]:
    """Returns the levels of a thumbnail less their median, shape (3 * EDGE * EDGE,): equal in another light."""
    levels = np.frombuffer(one, np.uint8).astype(np.float32)
    return levels - np.median(levels)


def find_near(thumbnails: NDArray[np.float32], one: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Returns which of N thumbnails, shape (N, 3 * EDGE * EDGE), are near copies of one; see `centre`."""
    return np.asarray(np.abs(thumbnails - one).mean(axis=1) < NEAR_COPY)
