"""What a program may hand over as an image: a path, the bytes of a file, pixels, or an image of Pillow."""

import os
import re
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from catsdogs_edge.errors import ImageError
from catsdogs_edge.images.decode import RgbImage, load, load_bytes, resize
from catsdogs_edge.images.orientation import ORIENTATION_TAG, UPRIGHT, turn


@runtime_checkable
class PillowImage(Protocol):
    """What is used of `PIL.Image.Image`: Pillow itself is not needed here."""

    mode: str

    def convert(self, mode: str) -> Any:
        """Returns the image with other channels."""

    def getexif(self) -> Any:
        """Returns its EXIF tags."""


ImageInput: TypeAlias = str | os.PathLike[str] | bytes | RgbImage | PillowImage
"""A path, the bytes of an image file, pixels as uint8 RGB (H, W, 3), or an image of Pillow."""


def load_input(image: object, size: int) -> RgbImage:
    """Turns whatever holds an image into the network's pixels, uint8 RGB (size, size, 3).

    Raises:
        ImageError: It cannot be read or decoded, or the pixels have another dtype or shape.
        TypeError: It is nothing that holds an image.
    """
    if isinstance(image, np.ndarray):
        return resize(image, size)
    if isinstance(image, str | os.PathLike):
        try:
            return load(os.fspath(image), size)
        except ImageError as error:
            if re.match("https?://", str(image)):
                raise ImageError(f"{error}: an address is not fetched here, pass the bytes") from error
            raise
    if isinstance(image, bytes | bytearray | memoryview):
        return load_bytes(bytes(image), size)
    if isinstance(image, PillowImage):
        return resize(_from_pillow(image), size)
    raise TypeError(
        "expected a path, the bytes of an image file, a NumPy array of uint8 RGB (H, W, 3), a Pillow image, or a list "
        f"of these; found {type(image).__module__}.{type(image).__qualname__}"
    )


def describe_input(image: object, number: int) -> str:
    """Returns how a message calls an image: its path, or its number in the list."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"image {number}"


def _from_pillow(image: PillowImage) -> RgbImage:
    """Decodes an image of Pillow as `decode` does a file: upright, 16 bits become 8, alpha is dropped."""
    if image.mode in {"I", "F"}:
        raise ImageError(f"a Pillow image of mode {image.mode}, whose range nobody knows: convert it to RGB")
    try:
        if image.mode.startswith("I;16"):
            grey = (np.asarray(image) >> 8).astype(np.uint8)
            pixels = np.repeat(grey[:, :, None], 3, axis=2)
        else:
            pixels = np.asarray(image.convert("RGB"), np.uint8)
    except OSError as error:  # Pillow reads a file when its pixels are asked for
        raise ImageError(f"Pillow refuses it: {error}") from error
    orientation = image.getexif().get(ORIENTATION_TAG, UPRIGHT)
    return turn(pixels, orientation if orientation in range(1, 9) else UPRIGHT)
