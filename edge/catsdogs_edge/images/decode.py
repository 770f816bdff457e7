"""The one way from an image file to the network's pixels.

Training, calibration, parity checks and the edge all call this module, so that they cannot differ:

    bytes -> `decode` (EXIF orientation applied, truncation refused) -> `resize` -> uint8 RGB (S, S, 3)

Everything after uint8 RGB is inside the model.
"""

import stat
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import ImageError

RgbImage: TypeAlias = NDArray[np.uint8]
"""One image, shape (H, W, 3), RGB, 0 to 255."""

RgbBatch: TypeAlias = NDArray[np.uint8]
"""Images of one size, shape (N, S, S, 3), RGB, 0 to 255."""

EXTENSIONS = frozenset({".avif", ".bmp", ".gif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""File name endings, in lower case, that a search through a folder takes for images."""

LARGEST_FILE = 2**28
"""Most bytes of an image file: files are read whole, and several at once."""

_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_JPEG_START_OF_SCAN = 0xDA


def load(path: str | Path, size: int) -> RgbImage:
    """Reads, decodes and resizes one file to uint8 RGB (size, size, 3); raises `ImageError` where it cannot."""
    return resize(read(path), size)


def read(path: str | Path) -> RgbImage:
    """Reads and decodes one file at its own size; see `decode`."""
    return decode(read_bytes(path))


def read_bytes(path: str | Path) -> bytes:
    """Reads one file; raises `ImageError` for a folder, a pipe, what is too large, and what cannot be read."""
    path = Path(path)
    try:
        status = path.stat()
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            raise ImageError("a folder: one named like an image, or one that cannot be opened")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise ImageError("not a regular file")
        if status.st_size > LARGEST_FILE:
            raise ImageError(f"{status.st_size / 2**20:.0f} MB, expected an image of {LARGEST_FILE >> 20} MB at most")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageError("a link to a file that does not exist" if path.is_symlink() else "no such file") from error
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL byte in it
        raise ImageError(f"not a path: {error}") from error


def load_batch(paths: Sequence[Path], size: int) -> RgbBatch:
    """Loads at least one file to uint8 RGB (N, size, size, 3); raises `ImageError` that names the one at fault."""
    images = []
    for path in paths:
        try:
            images.append(load(path, size))
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
    return np.stack(images)


def decode(data: bytes) -> RgbImage:
    """Decodes a whole file (JPEG, PNG, WebP, BMP, TIFF, AVIF or a GIF's first frame) to uint8 RGB (H, W, 3), upright.

    The EXIF orientation is applied. Alpha is dropped, 16 bits become 8, grey and CMYK become RGB.

    Raises:
        ImageError: Empty, truncated, larger than OpenCV's pixel limit, or not an image.
    """
    if not data:
        raise ImageError("empty file")
    if data.startswith(_JPEG_START) and not _jpeg_is_whole(data):
        raise ImageError("truncated JPEG: its end-of-image marker is missing")
    if data.startswith(_PNG_START) and (problem := _png_problem(data)):
        raise ImageError(problem)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ImageError(f"OpenCV refuses it: {error.err or error}") from error
    # OpenCV's annotations leave out that it answers None to what it cannot decode.
    if image is None:
        raise ImageError("not an image, or a truncated one")  # type: ignore[unreachable, unused-ignore]
    return np.asarray(image, np.uint8)


def resize(image: RgbImage, size: int) -> RgbImage:
    """Stretches uint8 (H, W, 3), in any order of channels, to a square of `size` pixels.

    An axis that shrinks is averaged over the area (no aliasing), then an axis that grows is interpolated linearly:
    `cv2.INTER_AREA` alone would repeat pixels where it enlarges.

    Raises:
        ImageError: Another dtype or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"pixels are {image.dtype} of shape {image.shape}, expected uint8 of shape (H, W, 3)")
    height, width = image.shape[:2]
    smaller = (min(width, size), min(height, size))
    if smaller != (width, height):
        image = np.asarray(cv2.resize(image, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    if smaller != (size, size):
        image = np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
    return image


def _jpeg_is_whole(data: bytes) -> bool:
    """Returns whether the end-of-image marker follows the image's data.

    OpenCV fills the missing part of a truncated JPEG with grey and reports success. The search starts behind the first
    scan header: an EXIF thumbnail before it has an end marker of its own, and inside entropy-coded data the marker
    cannot occur (ITU-T T.81, B.1.1.5).
    """
    position = len(_JPEG_START)
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            position += 1  # stray bytes between segments: decoders skip them too
            continue
        marker = data[position + 1]
        if marker == _JPEG_START_OF_SCAN:
            return data.find(_JPEG_END, position) != -1
        if marker == 0xFF:  # fill byte
            position += 1
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def _png_problem(data: bytes) -> str:
    """Explains what is wrong with a PNG's chunks; empty where all are whole.

    Decoders differ in what they make of a wrong checksum, and print their own lines about it. Each chunk is length,
    type, content, CRC-32 of type and content; a type in capitals is needed to decode (PNG specification, 5.3 and 5.4).
    """
    view = memoryview(data)
    position = len(_PNG_START)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if end > len(data):
            break
        is_needed = kind[:1].isupper()
        if is_needed and zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return "damaged PNG: a checksum is wrong"
        if kind == b"IEND":
            return ""
        position = end
    return "truncated PNG: its end is missing"
