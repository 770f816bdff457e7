"""Shows the network each training image a little different.

A view follows from the seed, its number and the image's index alone: it is the same in every process and on every
backend, and so can be computed ahead, in any order, by any thread. What it looks like is drawn first (`draw_views`),
then its pixels are computed: here by OpenCV, or in the training step on a GPU (`catsdogs_train.views.device_views`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
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


VIEW_DTYPE = np.dtype(
    [
        ("matrix", np.float32, (2, 3)),  # from a point (x, y, 1) of the view to the point of the image that it shows
        ("colour", np.float32, (3, 4)),  # from (red, green, blue, 1) to red, green and blue
        ("erased", np.float32, 4),  # left, top, width and height of a rectangle in the view's mean colour; in pixels
        ("bars", np.float32, (2, 3)),  # in two directions: angle in radians, distance of the first one from the middle
        # and of each from the next, in pixels; one that is not there is `NOWHERE`
        ("thickness", np.float32),  # of the bars, in pixels; 0: none
        ("bar_colour", np.float32, 3),  # RGB
        ("sharpness", np.float32),  # share of its edge length that the view is shrunk to, and enlarged again
    ]
)
"""What a view looks like."""

NOWHERE = (0.0, 1e6, 3e6)
"""Bars that are not there, in `VIEW_DTYPE`."""

Views: TypeAlias = NDArray[np.void]
"""Any number of `VIEW_DTYPE`, shape (N,)."""

_SAME_COLOURS = np.eye(3, 4, dtype=np.float32)
_GREY = np.array([0.299, 0.587, 0.114])  # of ITU-R BT.601

# Each view has so many random numbers, and they are drawn for so many images at a time: to seed a generator costs more
_NUMBERS, _BLOCK = 27, 64


def draw_views(
    edge: int, seed: int, view: int, indices: Sequence[int], recipe: Recipe = PUBLISHED, size: int | None = None
) -> Views:
    """Draws what view number `view` of the images at these indices, of those to train with, looks like.

    The images are of `edge` x `edge` pixels, the views of `size` x `size`, or as large as the images.
    """
    size = size or edge
    rows = np.stack([_random_numbers(seed, view, index // _BLOCK)[index % _BLOCK] for index in indices])
    numbers = iter(rows.T)  # between 0 and 1; each is taken, whatever the recipe
    views = np.zeros(len(indices), VIEW_DTYPE)

    def between(low: float, high: float) -> NDArray[np.float64]:
        spread: NDArray[np.float64] = low + (high - low) * next(numbers)
        return spread

    _place(views, edge, size, recipe, between)
    _recolour(views, recipe, between)
    is_erased = next(numbers) < recipe.erase
    width, height = (np.floor(between(*_ERASED) * size) for _ in range(2))
    left, top = (np.floor(between(0, 1) * (size - length)) for length in (width, height))
    views["erased"] = np.where(is_erased[:, None], np.column_stack([left, top, width, height]), 0)
    _set_bars(views, next(numbers) < recipe.bars, size, between)
    views["sharpness"] = np.exp(between(math.log(recipe.soft), 0))
    return views


Between: TypeAlias = Callable[[float, float], NDArray[np.float64]]
"""Takes the next random number of each view, and spreads it over a range."""


@lru_cache(maxsize=4096)  # 55 MB: an epoch of 262,144 images
def _random_numbers(seed: int, view: int, block: int) -> NDArray[np.float64]:
    """Returns the random numbers of a view for the images of a block, shape (64, 27)."""
    # From 1, because (seed, view, 0) would be (seed, view), of which the order of an epoch is drawn
    return np.random.default_rng((seed, view, block + 1)).random((_BLOCK, _NUMBERS))


def _place(views: Views, edge: int, size: int, recipe: Recipe, between: Between) -> None:
    """Sets which part of the image is shown."""
    shear = np.radians(between(-recipe.shear, recipe.shear))
    spans = np.column_stack([between(recipe.smallest, recipe.largest) for _ in range(2)])
    mirror = np.where((between(0, 1) < 0.5) & recipe.flip, -1.0, 1.0)
    # From a point of the view to the point of the image that it shows; centre to centre.
    matrix = np.zeros((len(views), 2, 2))
    matrix[:, 0, 0], matrix[:, 0, 1] = mirror * spans[:, 0], -np.sin(shear) * spans[:, 1]
    matrix[:, 1, 1] = np.cos(shear) * spans[:, 1]
    matrix *= edge / size
    centre, middle = np.full(2, (edge - 1) / 2), np.full(2, (size - 1) / 2)
    place = np.column_stack([between(-1, 1) for _ in range(2)])
    shown = centre * (1 + recipe.anywhere * place * np.maximum(1 - spans, 0))
    views["matrix"] = np.concatenate([matrix, (shown - matrix @ middle)[..., None]], axis=2)


def _recolour(views: Views, recipe: Recipe, between: Between) -> None:
    """Multiplies brightness, the distance from mid-grey, and the distance of each pixel from its own grey."""
    brightness, contrast, saturation = (between(1 - recipe.colour, 1 + recipe.colour)[:, None, None] for _ in range(3))
    mixed = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * np.tile(_GREY, (3, 1)))
    offset = np.broadcast_to(127.5 * brightness * (1 - contrast), (len(views), 3, 1))
    views["colour"] = np.concatenate([mixed, offset], axis=2)


def _set_bars(views: Views, has_bars: NDArray[np.bool_], edge: int, between: Between) -> None:
    """Sets bars that stand, lie, or cross each other, in one greyish colour."""
    grey = between(0, 255)
    tints = [between(-20, 20) for _ in range(3)]
    views["bar_colour"] = np.clip(grey[:, None] + np.column_stack(tints), 0, 255)
    thickness = np.maximum(np.round(between(*_THICKNESS) * edge), 1)
    views["thickness"] = np.where(has_bars, thickness, 0)
    tilt, kind = between(-_TILT, _TILT), np.floor(between(0, 3))
    for direction in range(2):
        gap = between(*_GAP) * edge
        first = between(0, 1) * gap - edge
        is_there = has_bars & ((kind == direction) | (kind == 2))
        bars = np.column_stack([tilt + direction * math.pi / 2, first, gap])
        views["bars"][:, direction] = np.where(is_there[:, None], bars, NOWHERE)


def show_view(rgb: RgbImage, view: np.void, size: int) -> RgbImage:
    """Computes the pixels of a view of uint8 RGB (S, S, 3): uint8 RGB (`size`, `size`, 3).

    What comes in from outside repeats the edge.
    """
    shown = cv2.warpAffine(
        rgb,
        view["matrix"],
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if not np.array_equal(view["colour"], _SAME_COLOURS):
        shown = cv2.transform(shown, view["colour"])
    result = np.asarray(shown, np.uint8)
    left, top, width, height = view["erased"].astype(int)
    if width:
        result[top : top + height, left : left + width] = result.mean(axis=(0, 1))
    if view["thickness"]:
        _show_bars(result, view)
    return _soften(result, float(view["sharpness"])) if view["sharpness"] < 1 else result


def make_view(
    rgb: RgbImage, seed: int, view: int, index: int, recipe: Recipe = PUBLISHED, size: int | None = None
) -> RgbImage:
    """Draws view number `view` of uint8 RGB (S, S, 3), the image at `index` of those to train with.

    Returns uint8 RGB (V, V, 3), V being `size` or else S; what comes in from outside repeats the edge.
    """
    edge = rgb.shape[0]
    return show_view(rgb, draw_views(edge, seed, view, [index], recipe, size)[0], size or edge)


def _show_bars(rgb: RgbImage, view: np.void) -> None:
    edge = rgb.shape[0]
    for angle, first, gap in view["bars"].tolist():
        along = np.array([math.cos(angle), math.sin(angle)])
        across = np.array([-along[1], along[0]])
        for distance in np.arange(first, edge, gap):
            middle = edge / 2 + distance * across
            start, end = ([round(value) for value in middle + side * 2 * edge * along] for side in (-1, 1))
            cv2.line(rgb, start, end, view["bar_colour"].tolist(), int(view["thickness"]), cv2.LINE_AA)


def _soften(rgb: RgbImage, share: float) -> RgbImage:
    """Takes away what an image of fewer pixels does not show."""
    size = rgb.shape[1::-1]
    smaller = cv2.resize(rgb, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(smaller, size, interpolation=cv2.INTER_LINEAR), np.uint8)
