"""Shows the network each training image a little different.

A view follows from the seed, its number and the image's index alone: it is the same in every process and on every
backend, and so can be computed ahead, in any order, by any thread.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from catsdogs_edge.images.decode import RgbImage


@dataclass(frozen=True, slots=True)
class Recipe:
    """How far a view may be from the image; as it stands, not at all."""

    shear: float = 0.0
    """Largest shear to either side in DEGREES."""
    smallest: float = 1.0
    """Least share of the image's width, and drawn apart from it of its height, that a view spans."""
    largest: float = 1.0
    """Greatest share; above 1 the edge is repeated around the image."""
    anywhere: bool = False
    """A view lies anywhere within the image; else around its centre."""
    flip: bool = False
    """Half of the views are mirrored, left for right."""
    colour: float = 0.0
    """Brightness, contrast and saturation are multiplied by 1 - colour to 1 + colour, each drawn apart."""
    erase: float = 0.0
    """Share of the views in which a rectangle is painted over (Zhong et al., "Random Erasing", 2020)."""
    soft: float = 1.0
    """Least share of its edge length that a view is shrunk to, and enlarged again: images come in any sharpness."""
    bars: float = 0.0
    """Share of the views that are seen through bars or a grid, as in a cage (like Chen et al., "GridMask", 2020)."""


PUBLISHED = Recipe(shear=0.2, smallest=0.8, largest=1.2, flip=True)
"""The Keras examples for cats and dogs: `shear_range=0.2, zoom_range=0.2, horizontal_flip=True` of the old
`ImageDataGenerator`. Its shear is in degrees: next to nothing, as it always was."""

STRONG = Recipe(smallest=0.5, largest=1.2, anywhere=True, flip=True, colour=0.25, erase=0.2, bars=0.2)
"""For fine-tuning, which would learn small differences by heart.

What is wrong without it shows why it is as it is: animals that are small in the image, and cats in cages, taken for
dogs. For the small ones, views have fewer pixels than the image that the network will be given (`fine_tune_size`).
"""

_ERASED = (0.15, 0.4)  # least and greatest width, and height, of an erased rectangle, as shares of the view's
# Distance and thickness of bars, as shares of the view's width; greatest tilt in radians
_GAP, _THICKNESS, _TILT = (0.07, 0.25), (0.005, 0.03), 0.3


def make_view(
    rgb: RgbImage, seed: int, view: int, index: int, recipe: Recipe = PUBLISHED, size: int | None = None
) -> RgbImage:
    """Draws view number `view` of uint8 RGB (S, S, 3), the image at `index` of those to train with.

    Returns uint8 RGB (V, V, 3), V being `size` or else S; what comes in from outside repeats the edge.
    """
    random = np.random.default_rng((seed, view, index))
    shear = math.radians(random.uniform(-recipe.shear, recipe.shear))
    span_x, span_y = random.uniform(recipe.smallest, recipe.largest, 2)
    mirror = -1.0 if recipe.flip and random.random() < 0.5 else 1.0
    # From a point of the view to the point of the image that it shows; centre to centre.
    matrix = np.array([[mirror * span_x, -math.sin(shear) * span_y], [0.0, math.cos(shear) * span_y]])
    size = size or rgb.shape[0]
    matrix *= rgb.shape[0] / size
    centre, middle = np.full(2, (rgb.shape[0] - 1) / 2), np.full(2, (size - 1) / 2)
    shown = centre
    if recipe.anywhere:
        shown = centre * (1 + random.uniform(-1, 1, 2) * np.maximum(1 - np.array([span_x, span_y]), 0))
    turned = cv2.warpAffine(
        rgb,
        np.column_stack([matrix, shown - matrix @ middle]),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    result = np.asarray(turned, np.uint8)
    if recipe.colour:
        result = _recolour(result, *random.uniform(1 - recipe.colour, 1 + recipe.colour, 3))
    if random.random() < recipe.erase:
        _erase(result, random)
    if random.random() < recipe.bars:
        _draw_bars(result, random)
    if recipe.soft < 1:
        result = _soften(result, math.exp(random.uniform(math.log(recipe.soft), 0)))
    return result


def _recolour(rgb: RgbImage, brightness: float, contrast: float, saturation: float) -> RgbImage:
    """Multiplies brightness, the distance from mid-grey, and the distance of each pixel from its own grey."""
    grey = np.array([0.299, 0.587, 0.114])  # of ITU-R BT.601
    mixed = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * np.tile(grey, (3, 1)))
    offset = np.full((3, 1), 127.5 * brightness * (1 - contrast))
    return np.asarray(cv2.transform(rgb, np.hstack([mixed, offset])), np.uint8)


def _soften(rgb: RgbImage, share: float) -> RgbImage:
    """Takes away what an image of fewer pixels does not show."""
    size = rgb.shape[1::-1]
    smaller = cv2.resize(rgb, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(smaller, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _erase(rgb: RgbImage, random: np.random.Generator) -> None:
    """Paints a rectangle in the image's mean colour, in place."""
    edge = rgb.shape[0]
    width, height = (random.uniform(*_ERASED, 2) * edge).astype(int)
    left, top = (random.uniform(0, 1, 2) * [edge - width, edge - height]).astype(int)
    rgb[top : top + height, left : left + width] = rgb.mean(axis=(0, 1))


def _draw_bars(rgb: RgbImage, random: np.random.Generator) -> None:
    """Draws bars that stand, lie, or cross each other, in one colour, in place."""
    edge = rgb.shape[0]
    colour = np.clip(random.uniform(0, 255) + random.uniform(-20, 20, 3), 0, 255).tolist()  # greyish
    thickness = max(round(random.uniform(*_THICKNESS) * edge), 1)
    tilt = random.uniform(-_TILT, _TILT)
    for turn in ([0.0], [math.pi / 2], [0.0, math.pi / 2])[random.integers(3)]:
        along = np.array([math.cos(tilt + turn), math.sin(tilt + turn)])
        across = np.array([-along[1], along[0]])
        gap = random.uniform(*_GAP) * edge
        for distance in np.arange(random.uniform(-edge, gap - edge), edge, gap):
            middle = edge / 2 + distance * across
            start, end = ([round(value) for value in middle + side * 2 * edge * along] for side in (-1, 1))
            cv2.line(rgb, start, end, colour, thickness, cv2.LINE_AA)
