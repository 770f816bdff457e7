"""Which way up an image is to be shown, as its file says it, and how to turn it so."""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.images.headers import avif_properties, tiff_tags

Orientation: TypeAlias = int
"""1 to 8, as EXIF counts them: 1 is upright, 6 is to be turned by a quarter clockwise."""

UPRIGHT: Orientation = 1

ORIENTATION_TAG = 0x0112
"""Of the orientation in EXIF (CIPA DC-008)."""

_TURNED_LEFT = (1, 8, 3, 6)  # by so many quarters: the rotation of an AVIF (ISO/IEC 23008-12, `irot`)
_MIRRORED = ({1: 4, 8: 5, 3: 2, 6: 7}, {1: 2, 8: 7, 3: 4, 6: 5})  # and then top to bottom, or left to right (`imir`)


def exif_orientation(tiff: bytes) -> Orientation:
    """Reads the orientation from an EXIF segment, which is a small TIFF file; upright where it does not say."""
    value = tiff_tags(tiff).get(ORIENTATION_TAG, UPRIGHT)
    return value if 1 <= value <= 8 else UPRIGHT


def avif_orientation(data: bytes) -> Orientation:
    """Reads the rotation and mirroring of an AVIF, which has them in the properties of its items."""
    orientation = UPRIGHT
    for kind, content in avif_properties(data):
        if kind == b"irot" and content:
            orientation = _TURNED_LEFT[content[0] & 3]
        elif kind == b"imir" and content:
            orientation = _MIRRORED[content[0] & 1].get(orientation, orientation)
    return orientation


def turn(image: NDArray[np.uint8], orientation: Orientation) -> NDArray[np.uint8]:
    """Turns pixels, shape (H, W, 3), so that they are upright."""
    if orientation == UPRIGHT:
        return image
    if orientation in {5, 6, 7, 8}:
        image = np.asarray(cv2.transpose(image), np.uint8)
    flips = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
    return np.asarray(cv2.flip(image, flips[orientation]), np.uint8) if orientation in flips else image
