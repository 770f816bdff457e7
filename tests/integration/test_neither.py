"""What a camera sees most of the time, on a model that learned from drawings alone."""

from pathlib import Path

import numpy as np
import pytest

from catsdogs_edge.images.decode import RgbImage
from catsdogs_edge.images.drawings import draw
from catsdogs_edge.model.classifier import Classifier
from catsdogs_train.data.blank_frames import draw_blank_frames

PETS = [np.asarray(draw(kind, 900 + number, 224), np.uint8) for number in range(10) for kind in ("cat", "dog")]


def frames() -> list[RgbImage]:
    plain = [np.full((480, 640, 3), grey, np.uint8) for grey in (0, 64, 128, 255)]
    return [*plain, *draw_blank_frames(40, 224, 7, PETS)]  # blank, dark, noise, blurred


@pytest.mark.parametrize("precision", ["", ".int8"])
def test_frames_that_show_nothing_are_neither(precision: str, published: Path) -> None:
    classifier = Classifier.load(published / f"model{precision}.onnx")
    assert {prediction.label for prediction in classifier.classify(frames())} == {"neither"}
    # Only 8 images set the threshold.
    assert sum(prediction.label != "neither" for prediction in classifier.classify(PETS)) >= 12
