"""JPEG files: whole pixels or an error, decided by what libjpeg-turbo itself reports.

OpenCV decodes with the same library, fills what is missing with grey, and says nothing. simplejpeg gives the same
pixels, and what it stumbled over.
"""

import re
from collections.abc import Iterator

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.headers import too_many
from catsdogs_edge.images.orientation import UPRIGHT, exif_orientation, turn

START = b"\xff\xd8"
MOST_SCANS = 100
"""An image of thousands of scans takes minutes to decode; those that cameras and programs write have up to 20."""

LONGEST_EDGE = 65_000
"""Pixels; the format has 16 bits for each."""

_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd8]")  # inside of a scan, others than these end it (ITU-T T.81, B.1.1)
_APP1, _PROGRESSIVE, _SCAN = 0xE1, 0xC2, 0xDA
_EXIF = b"Exif\0\0"


def count_pixels(data: bytes) -> int | None:
    """Returns how many pixels a JPEG has; None where its header does not say."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (KeyError, ValueError):
        return None
    return int(height * width)


def decode_jpeg(data: bytes, most_pixels: int, most_reduced: int) -> NDArray[np.uint8]:
    """Decodes a JPEG to uint8 RGB (H, W, 3), upright.

    One that lacks no more than its end-of-image marker is whole. One of more than `most_pixels` is decoded at a half, a
    quarter or an eighth of its resolution, if it is no progressive one: those are whole in the memory before.

    Raises:
        ImageError: A pixel is missing, or there are more than `most_reduced`.
    """
    scans, orientation, progressive, ended = 0, UPRIGHT, False, False
    header = [START]
    for marker, start, end in _segments(data):
        if not scans:  # stray bytes between segments, which all decoders pass over, are left out
            header.append(data[start:end] if marker != _SCAN else data[start:])
        content = data[start + 4 : end]
        scans += marker == _SCAN
        if scans > MOST_SCANS:
            raise ImageError(f"a JPEG of more than {MOST_SCANS} scans, which would take too long to decode")
        progressive |= marker == _PROGRESSIVE
        ended |= marker == _END[1]
        if marker == _APP1 and content.startswith(_EXIF):
            orientation = exif_orientation(content[len(_EXIF) :])
    if progressive and not ended:  # how many scans are missing, nobody can know
        raise ImageError("truncated JPEG: its last scans are missing")
    try:
        whole = b"".join(header) if ended else b"".join([*header, _END])
        return turn(_decode(whole, most_pixels, most_pixels if progressive else most_reduced), orientation)
    except ValueError as error:
        if isinstance(error, ImageError):
            raise
        kind = "truncated" if "remature end" in str(error) or not scans else "damaged"
        raise ImageError(f"{kind} JPEG: {error}") from error


def encode_jpeg(pixels: NDArray[np.uint8], quality: int = 80, order: str = "RGB", longest: int = LONGEST_EDGE) -> bytes:
    """Encodes uint8 (H, W, 3), in the order RGB or BGR; shrinks it first where an edge is longer, in pixels."""
    pixels = np.ascontiguousarray(fit(pixels, longest))
    return bytes(simplejpeg.encode_jpeg(pixels, quality, colorspace=order, colorsubsampling="420"))


def fit(pixels: NDArray[np.uint8], longest: int = LONGEST_EDGE) -> NDArray[np.uint8]:
    """Shrinks an image with a longer edge, uint8 (H, W, 3), and returns any other as it is; the format has a limit."""
    if max(pixels.shape) <= longest:
        return pixels
    height, width = (max(round(edge * longest / max(pixels.shape)), 1) for edge in pixels.shape[:2])
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _decode(data: bytes, most_pixels: int, most_reduced: int) -> NDArray[np.uint8]:
    """Decodes pixels as they lie in the file; raises `ValueError` where libjpeg-turbo warns of one."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except KeyError as error:  # of colours that it does not know
        raise ValueError("its header cannot be read") from error
    is_printed = colours in {"CMYK", "YCCK"}  # OpenCV decodes these, at their full size
    most = most_pixels if is_printed else most_reduced
    if height * width > most:
        raise ImageError(too_many(height * width, most))
    smaller = next(factor for factor in (1, 2, 4, 8) if height * width <= most_pixels * factor**2)
    least = {"min_height": -(-height // smaller), "min_width": -(-width // smaller)}
    pixels = simplejpeg.decode_jpeg(data, "CMYK" if is_printed else "RGB", **least)
    if is_printed:  # OpenCV converts these
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags), np.uint8)
    return np.asarray(pixels, np.uint8)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields marker, start and end of each segment up to the end of the image; that of a scan is its header."""
    position = len(START)
    while match := _MARKER.search(data, position):
        marker, start = match[0][1], match.end()
        if marker == _END[1]:
            yield marker, match.start(), start
            return
        end = start + int.from_bytes(data[start : start + 2], "big")
        yield marker, match.start(), end
        position = max(end, start)
