"""Frames that show nothing, as cameras deliver them: blank, dark, noise, out of focus."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.images.decode import RgbBatch, RgbImage

_GRAINS = (1, 2, 4, 8, 16)  # edge lengths of a grain of noise in pixels
_BLUR = (1 / 14, 1 / 6)  # least and greatest standard deviation, as shares of the edge length: no animal can be seen


def draw_blank_frames(count: int, size: int, seed: int, images: Sequence[RgbImage]) -> RgbBatch:
    """Draws frames that show nothing, of four kinds in turn: uint8 RGB (count, S, S, 3), S being `size`.

    At least one of `images`, uint8 RGB (S, S, 3), is blurred for it.
    """
    frames = np.empty((count, size, size, 3), np.uint8)
    for number in range(count):
        random = np.random.default_rng((seed, number))
        frame = (_shade, _noise, _dark, _blurred)[number % 4](random, size, images)
        frames[number] = np.clip(np.rint(frame), 0, 255)
    return frames


def _shade(random: np.random.Generator, size: int, _: Sequence[RgbImage]) -> NDArray[np.float64]:
    """One colour all over, or one that becomes another: a wall, a hand before the lens, an overexposed frame."""
    ends = random.uniform(-60, 315, (2, 3))  # what is beyond 0 to 255 is under- or overexposed
    if random.random() < 0.3:
        ends[1] = ends[0]
    along = np.linspace(0, 1, size)[:, None, None] * (ends[1] - ends[0]) + ends[0]
    frame = np.broadcast_to(along, (size, size, 3))
    frame = frame if random.random() < 0.5 else frame.swapaxes(0, 1)
    return frame + random.normal(0, random.uniform(0, 6), frame.shape)


def _noise(random: np.random.Generator, size: int, _: Sequence[RgbImage]) -> NDArray[np.float64]:
    """Noise of any grain, grey or coloured: no signal."""
    edge = -(-size // int(random.choice(_GRAINS)))
    grains = random.uniform(0, 255, (edge, edge, 3 if random.random() < 0.5 else 1)).astype(np.float32)
    grains = np.repeat(grains, 3 // grains.shape[2], axis=2)
    how = cv2.INTER_NEAREST if random.random() < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grains, (size, size), interpolation=how), np.float64)


def _dark(random: np.random.Generator, size: int, _: Sequence[RgbImage]) -> NDArray[np.float64]:
    """A sensor in the dark."""
    return random.normal(random.uniform(0, 12), random.uniform(0, 8), (size, size, 3))


def _blurred(random: np.random.Generator, size: int, images: Sequence[RgbImage]) -> NDArray[np.float64]:
    """An image far out of focus."""
    image = images[int(random.integers(len(images)))]
    return np.asarray(cv2.GaussianBlur(image, (0, 0), random.uniform(*_BLUR) * size), np.float64)
