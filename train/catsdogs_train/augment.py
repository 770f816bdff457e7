"""Shows the network each training picture a little different: the published recipe, as one affine transform.

A view follows from the seed, its number and the picture's place alone: it is the same in every process and on every
backend, and so can be computed ahead, in any order, by any thread.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from catsdogs_edge.image import RgbImage


@dataclass(frozen=True, slots=True)
class Recipe:
    """How far a view may be from the picture.

    The values are those of the Keras examples for cats and dogs (`shear_range=0.2, zoom_range=0.2,
    horizontal_flip=True` of the old `ImageDataGenerator`, with its units).
    """

    shear: float = 0.2
    """Largest shear to either side in DEGREES: next to nothing, as it always was."""
    zoom: float = 0.2
    """A view spans 1 - zoom to 1 + zoom of the picture's width and, drawn apart from it, of its height: it shows things
    1 / (1 + zoom) to 1 / (1 - zoom) times as large."""
    flip: bool = True
    """Half of the views are mirrored, left for right."""


PUBLISHED = Recipe()


def make_view(rgb: RgbImage, seed: int, view: int, index: int, recipe: Recipe = PUBLISHED) -> RgbImage:
    """Draws one view of a picture.

    Args:
        rgb: uint8, shape (S, S, 3).
        seed: Of the run.
        view: Number of the view, such as the epoch; another one is drawn anew.
        index: Place of the picture among those to train with.
        recipe: How far it may go.

    Returns:
        uint8, shape (S, S, 3), RGB; what comes in from outside repeats the edge.
    """
    random = np.random.default_rng((seed, view, index))
    shear = math.radians(random.uniform(-recipe.shear, recipe.shear))
    zoom_x, zoom_y = random.uniform(1 - recipe.zoom, 1 + recipe.zoom, 2)
    mirror = -1.0 if recipe.flip and random.random() < 0.5 else 1.0
    # From a point of the view to the point of the picture that it shows; the centre stays.
    matrix = np.array([[mirror * zoom_x, -math.sin(shear) * zoom_y], [0.0, math.cos(shear) * zoom_y]])
    centre = (rgb.shape[0] - 1) / 2
    shift = np.array([centre, centre]) - matrix @ [centre, centre]
    turned = cv2.warpAffine(
        rgb,
        np.column_stack([matrix, shift]),
        rgb.shape[1::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(turned, np.uint8)
