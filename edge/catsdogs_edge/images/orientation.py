"""Which way up an image is to be shown, as its file says it, and how to turn it so."""

from collections.abc import Iterator
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Orientation: TypeAlias = int
"""1 to 8, as EXIF counts them: 1 is upright, 6 is to be turned by a quarter clockwise."""

UPRIGHT: Orientation = 1

_TAG, _SHORT = 0x0112, 3  # of the orientation in EXIF (CIPA DC-008), and its type
_TURNED_LEFT = (1, 8, 3, 6)  # by so many quarters: the rotation of an AVIF (ISO/IEC 23008-12, `irot`)
_MIRRORED = ({1: 4, 8: 5, 3: 2, 6: 7}, {1: 2, 8: 7, 3: 4, 6: 5})  # and then top to bottom, or left to right (`imir`)


def exif_orientation(tiff: bytes) -> Orientation:
    """Reads the orientation from an EXIF segment, which is a small TIFF file; upright where it does not say."""
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(tiff[:4])
    if order is None:
        return UPRIGHT

    def number(position: int, size: int) -> int:
        return int.from_bytes(tiff[position : position + size], "little" if order == "little" else "big")

    first = number(4, 4)
    for entry in range(first + 2, first + 2 + 12 * number(first, 2), 12):
        if entry + 12 > len(tiff):
            break
        if number(entry, 2) == _TAG and number(entry + 2, 2) == _SHORT:
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


def avif_orientation(data: bytes) -> Orientation:
    """Reads the rotation and mirroring of an AVIF, which has them in the properties of its items."""
    orientation, box = UPRIGHT, data
    for name, skipped in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        box = next((content[skipped:] for kind, content in _boxes(box) if kind == name), b"")
    for kind, content in _boxes(box):
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


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields kind and content of the boxes in a part of an ISO base media file; stops at one that is not whole."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if not 8 <= size <= len(data) - position:
            return
        yield data[position + 4 : position + 8], data[position + 8 : position + size]
        position += size
