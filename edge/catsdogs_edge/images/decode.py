"""The one way from an image file to the network's pixels.

Training, calibration, parity checks and the edge all call this module, so that they cannot differ:

    bytes -> `decode` (EXIF orientation applied, truncation refused) -> `resize` -> uint8 RGB (S, S, 3)

Everything after uint8 RGB is inside the model.
"""

import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images import headers, jpeg
from catsdogs_edge.images.budget import PixelBudget
from catsdogs_edge.images.headers import too_many
from catsdogs_edge.images.orientation import avif_orientation, turn

RgbImage: TypeAlias = NDArray[np.uint8]
"""One image, shape (H, W, 3), RGB, 0 to 255."""

RgbBatch: TypeAlias = NDArray[np.uint8]
"""Images of one size, shape (N, S, S, 3), RGB, 0 to 255."""

EXTENSIONS = frozenset({".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""File name endings, in lower case, that a search through a folder takes for images."""

LARGEST_FILE = 2**28
"""Most bytes of an image file: files are read whole, and several at once."""

MOST_PIXELS = 2**26
"""Most pixels of an image: several are decoded at once, and some formats take 8 bytes for a pixel on the way."""

MOST_JPEG_PIXELS = 2**28
"""The same for JPEG: a phone's largest have 200 million. Above `MOST_PIXELS` it is decoded at a lower resolution."""

_FOLDER = "a folder: one named like an image, or one that cannot be opened"
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # not on Windows
_GIF_END = b";"  # a GIF that lacks no more than this is whole
_BUDGET = PixelBudget(MOST_PIXELS)


def load(path: str | Path, size: int) -> RgbImage:
    """Reads, decodes and resizes one file to uint8 RGB (size, size, 3); raises `ImageError` where it cannot."""
    return load_bytes(read_bytes(path), size)


def load_bytes(data: bytes, size: int) -> RgbImage:
    """Decodes and resizes a whole file to uint8 RGB (size, size, 3); raises `ImageError` where it cannot.

    Threads that do so at the same time wait for each other where their images together are too large.
    """
    with decoded(data) as image:
        return resize(image, size)


@contextmanager
def decoded(data: bytes) -> Iterator[RgbImage]:
    """Decodes a whole file, as `decode` does, and counts its pixels among those in memory as long as the block lasts.

    Threads that do so at the same time wait for each other where their images together are too large.
    """
    with _BUDGET.spend(jpeg.count_pixels(data) if data.startswith(jpeg.START) else headers.count_pixels(data)):
        yield decode(data)


def read(path: str | Path) -> RgbImage:
    """Reads and decodes one file: uint8 RGB, shape (H, W, 3), upright, at its own size; see `decode`."""
    return decode(read_bytes(path))


def read_bytes(path: str | Path) -> bytes:
    """Reads one file; raises `ImageError` for a folder, a pipe, what is too large, and what cannot be read."""
    with open_file(path) as stream:
        return read_stream(stream)


def open_file(path: str | Path) -> BinaryIO:
    """Opens a regular file of a sensible size; raises `ImageError` where that cannot be. It must be closed."""
    path = Path(path)
    try:
        # A pipe would wait for ever; a device could do anything
        stream = open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | _NO_WAIT))  # noqa: SIM115
    except FileNotFoundError as error:
        missing = "no such file" if path.suffix else "no such file or folder"
        raise ImageError("a link to a file that does not exist" if path.is_symlink() else missing) from error
    except IsADirectoryError as error:
        raise ImageError(_FOLDER) from error
    except OSError as error:
        raise ImageError(_FOLDER if os.path.isdir(path) else f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL byte in it
        raise ImageError(f"not a path: {error}") from error
    status = os.fstat(stream.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST_FILE:
        return stream
    stream.close()
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("not a regular file")
    raise ImageError(f"{status.st_size / 2**20:.0f} MB, expected an image of {LARGEST_FILE >> 20} MB at most")


def read_stream(stream: BinaryIO) -> bytes:
    """Reads all of an open file; raises `ImageError` where it cannot be read."""
    try:
        return stream.read()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error


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

    The EXIF orientation, and that of an AVIF, is applied. Alpha is dropped (of a TIFF, multiplied in), 16 bits become
    8, grey and CMYK become RGB.

    Raises:
        ImageError: Empty, without some of its pixels, damaged, too large, or not an image.
    """
    if not data:
        raise ImageError("empty file")
    if data.startswith(jpeg.START):
        return jpeg.decode_jpeg(data, MOST_PIXELS, MOST_JPEG_PIXELS)
    if data.startswith(headers.PNG_START) and (problem := _png_problem(data)):
        raise ImageError(problem)
    pixels = headers.count_pixels(data)
    if pixels is None:  # OpenCV may know it, and need any memory
        raise ImageError("not an image, or a truncated one: expected JPEG, PNG, WebP, BMP, TIFF, AVIF or GIF")
    if pixels > MOST_PIXELS:
        raise ImageError(too_many(pixels, MOST_PIXELS))
    image = _decode(data + _GIF_END if data.startswith(headers.GIF_START) else data)
    return turn(image, avif_orientation(data)) if headers.is_avif(data) else image


def _decode(data: bytes) -> RgbImage:
    """Decodes what OpenCV can, which sees to the EXIF orientation."""
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
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(f"pixels are {image.dtype} of shape {image.shape}, expected uint8 of shape (H, W, 3)")
    height, width = image.shape[:2]
    smaller = (min(width, size), min(height, size))
    if smaller != (width, height):
        image = np.asarray(cv2.resize(image, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    if smaller != (size, size):
        image = np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
    return image


def _png_problem(data: bytes) -> str:
    """Explains what is wrong with a PNG's chunks; empty where all are whole.

    Decoders differ in what they make of a wrong checksum, and print their own lines about it. Each chunk is length,
    type, content, CRC-32 of type and content; a type in capitals is needed to decode (PNG specification, 5.3 and 5.4).
    """
    view = memoryview(data)
    position = len(headers.PNG_START)
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
