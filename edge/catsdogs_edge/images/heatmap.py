"""Draws over an image what each part of it says for an answer."""

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.images.decode import RgbImage

_Map: TypeAlias = NDArray[np.float32]

_MOST_COLOUR = 0.65  # share of the colour where a part says the most
_GREY = 0.75  # brightness of what says nothing


def draw_heatmap(image: RgbImage, evidence: _Map) -> RgbImage:
    """Colours what speaks for an answer, the more the brighter, and shows the rest of the image in grey.

    The scale is that of the image: its strongest part is yellow, whatever that says. An image in which nothing speaks
    for the answer is grey.

    Args:
        image: uint8 RGB, shape (H, W, 3).
        evidence: float32, shape (h, w), from the upper left corner; below 0: against the answer.

    Returns:
        uint8 RGB, shape (H, W, 3).
    """
    height, width = image.shape[:2]
    strongest = max(float(evidence.max()), 1e-6)
    share = np.clip(evidence / strongest, 0, 1).astype(np.float32)
    share = np.clip(cv2.resize(share, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)[..., np.newaxis]
    colours = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed = _GREY * grey * (1 - _MOST_COLOUR * share) + _MOST_COLOUR * share * colours
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)
