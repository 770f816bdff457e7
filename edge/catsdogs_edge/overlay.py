"""Draws a prediction on a frame."""

import cv2
import numpy as np

from catsdogs_edge.classifier import Prediction
from catsdogs_edge.sources import BgrImage

_WHITE = (255, 255, 255)
_GREY = (90, 90, 90)
_BAR = (0, 159, 230)  # BGR of the orange in Okabe and Ito's colour-blind-safe palette


def draw_overlay(bgr: BgrImage, prediction: Prediction, latency_ms: float) -> BgrImage:
    """Draws label, probability, a bar and the latency on a dark strip along the lower edge.

    Args:
        bgr: uint8, shape (H, W, 3), BGR; left as it is.
        prediction: What to write.
        latency_ms: Milliseconds from frame to prediction.

    Returns:
        A copy of the frame with the overlay, same shape, BGR.
    """
    image = bgr.copy()
    height, width = image.shape[:2]
    unit = max(min(height, width * 3 / 4), 240) / 480  # all lengths are for a frame of 640 x 480
    strip = min(height, round(64 * unit))
    image[height - strip :] //= 4

    def text(words: str, x: int, scale: float, colour: tuple[int, int, int]) -> int:
        """Writes on the strip; returns the width in pixels."""
        thickness = max(1, round(2 * scale * unit))
        font = cv2.FONT_HERSHEY_SIMPLEX
        size, _ = cv2.getTextSize(words, font, scale * unit, thickness)
        cv2.putText(image, words, (x, height - round(28 * unit)), font, scale * unit, colour, thickness, cv2.LINE_AA)
        return size[0]

    margin = round(16 * unit)
    written = text(prediction.label, margin, 1.0, _WHITE)
    text(f"{prediction.probability:.1%}", margin + written + margin, 0.8, _BAR)
    timing = f"{latency_ms:.0f} ms"
    timing_width, _ = cv2.getTextSize(timing, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * unit, 1)
    text(timing, width - margin - timing_width[0], 0.6, _WHITE)

    top, bottom = height - round(18 * unit), height - round(8 * unit)
    full = width - 2 * margin
    cv2.rectangle(image, (margin, top), (margin + full, bottom), _GREY, -1)
    cv2.rectangle(image, (margin, top), (margin + round(full * prediction.probability), bottom), _BAR, -1)
    return np.asarray(image, np.uint8)
