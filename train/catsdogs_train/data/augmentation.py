"""Shows the network each training image a little different.

A view follows from the seed, its number and the image's index alone: it is the same in every process and on every
backend, and so can be computed ahead, in any order, by any thread. What it looks like is drawn first (`draw_view`),
then its pixels are computed: here by OpenCV, or in the training step on a GPU (`catsdogs_train.network.device_views`).
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

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


Matrix: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bars:
    """Parallel bars, or a grid of them."""

    directions: tuple[tuple[float, float, float], ...]
    """One or two: angle in radians, distance of the first bar from the middle of the view, and of each from the next,
    in pixels."""
    colour: tuple[float, float, float]
    """RGB."""
    thickness: int
    """In pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a view looks like."""

    size: int
    """Its edge length V in pixels."""
    matrix: Matrix
    """Shape (2, 3): from a point (x, y, 1) of the view to the point of the image that it shows."""
    colour: Matrix | None = None
    """Shape (3, 4): from (red, green, blue, 1) to red, green and blue; None leaves them."""
    erased: tuple[int, int, int, int] | None = None
    """Left, top, width and height of a rectangle in the view's mean colour."""
    bars: Bars | None = None
    sharpness: float = 1.0
    """Share of its edge length that it is shrunk to, and enlarged again."""


def draw_view(edge: int, seed: int, view: int, index: int, recipe: Recipe = PUBLISHED, size: int | None = None) -> View:
    """Draws what view number `view` of the image at `index` of those to train with looks like.

    The image is of `edge` x `edge` pixels, the view of `size` x `size`, or as large as the image.
    """
    random = np.random.default_rng((seed, view, index))
    size = size or edge
    shear = math.radians(random.uniform(-recipe.shear, recipe.shear))
    span_x, span_y = random.uniform(recipe.smallest, recipe.largest, 2)
    mirror = -1.0 if recipe.flip and random.random() < 0.5 else 1.0
    # From a point of the view to the point of the image that it shows; centre to centre.
    matrix = np.array([[mirror * span_x, -math.sin(shear) * span_y], [0.0, math.cos(shear) * span_y]])
    matrix *= edge / size
    centre, middle = np.full(2, (edge - 1) / 2), np.full(2, (size - 1) / 2)
    shown = centre
    if recipe.anywhere:
        shown = centre * (1 + random.uniform(-1, 1, 2) * np.maximum(1 - np.array([span_x, span_y]), 0))
    colour = _draw_colour(random, recipe.colour) if recipe.colour else None
    erased = _draw_rectangle(random, size) if random.random() < recipe.erase else None
    bars = _draw_bars(random, size) if random.random() < recipe.bars else None
    return View(
        size=size,
        matrix=np.column_stack([matrix, shown - matrix @ middle]),
        colour=colour,
        erased=erased,
        bars=bars,
        sharpness=math.exp(random.uniform(math.log(recipe.soft), 0)) if recipe.soft < 1 else 1.0,
    )


def show_view(rgb: RgbImage, view: View) -> RgbImage:
    """Computes the pixels of a view of uint8 RGB (S, S, 3): uint8 RGB (V, V, 3).

    What comes in from outside repeats the edge.
    """
    turned = cv2.warpAffine(
        rgb,
        view.matrix,
        (view.size, view.size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    result = np.asarray(turned if view.colour is None else cv2.transform(turned, view.colour), np.uint8)
    if view.erased:
        left, top, width, height = view.erased
        result[top : top + height, left : left + width] = result.mean(axis=(0, 1))
    if view.bars:
        _show_bars(result, view.bars)
    if view.sharpness < 1:
        result = _soften(result, view.sharpness)
    return result


def make_view(
    rgb: RgbImage, seed: int, view: int, index: int, recipe: Recipe = PUBLISHED, size: int | None = None
) -> RgbImage:
    """Draws view number `view` of uint8 RGB (S, S, 3), the image at `index` of those to train with.

    Returns uint8 RGB (V, V, 3), V being `size` or else S; what comes in from outside repeats the edge.
    """
    return show_view(rgb, draw_view(rgb.shape[0], seed, view, index, recipe, size))


def _draw_colour(random: np.random.Generator, most: float) -> Matrix:
    """Multiplies brightness, the distance from mid-grey, and the distance of each pixel from its own grey."""
    brightness, contrast, saturation = random.uniform(1 - most, 1 + most, 3)
    grey = np.array([0.299, 0.587, 0.114])  # of ITU-R BT.601
    mixed = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * np.tile(grey, (3, 1)))
    offset = np.full((3, 1), 127.5 * brightness * (1 - contrast))
    return np.hstack([mixed, offset])


def _draw_rectangle(random: np.random.Generator, edge: int) -> tuple[int, int, int, int]:
    width, height = (random.uniform(*_ERASED, 2) * edge).astype(int)
    left, top = (random.uniform(0, 1, 2) * [edge - width, edge - height]).astype(int)
    return int(left), int(top), int(width), int(height)


def _draw_bars(random: np.random.Generator, edge: int) -> Bars:
    """Draws bars that stand, lie, or cross each other, in one colour."""
    red, green, blue = np.clip(random.uniform(0, 255) + random.uniform(-20, 20, 3), 0, 255).tolist()  # greyish
    thickness = max(round(random.uniform(*_THICKNESS) * edge), 1)
    tilt = random.uniform(-_TILT, _TILT)
    directions = []
    for turn in ([0.0], [math.pi / 2], [0.0, math.pi / 2])[random.integers(3)]:
        gap = random.uniform(*_GAP) * edge
        directions.append((tilt + turn, random.uniform(-edge, gap - edge), gap))
    return Bars(tuple(directions), (red, green, blue), thickness)


def _show_bars(rgb: RgbImage, bars: Bars) -> None:
    edge = rgb.shape[0]
    for angle, first, gap in bars.directions:
        along = np.array([math.cos(angle), math.sin(angle)])
        across = np.array([-along[1], along[0]])
        for distance in np.arange(first, edge, gap):
            middle = edge / 2 + distance * across
            start, end = ([round(value) for value in middle + side * 2 * edge * along] for side in (-1, 1))
            cv2.line(rgb, start, end, bars.colour, bars.thickness, cv2.LINE_AA)


def _soften(rgb: RgbImage, share: float) -> RgbImage:
    """Takes away what an image of fewer pixels does not show."""
    size = rgb.shape[1::-1]
    smaller = cv2.resize(rgb, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(smaller, size, interpolation=cv2.INTER_LINEAR), np.uint8)
