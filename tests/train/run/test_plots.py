"""Plots of what is larger than usual; those of a usual run are in the run folder of the other tests."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from catsdogs_train.run.plots import plot_confusion


@pytest.mark.parametrize("classes", [2, 19, 20, 300])
def test_a_confusion_matrix_of_many_classes_stays_an_image_one_can_open(classes: int, tmp_path: Path) -> None:
    truth = np.arange(3 * classes) % classes
    probabilities = np.eye(classes, dtype=np.float32)[truth]
    plot_confusion(probabilities, truth, [f"class {number}" for number in range(classes)], tmp_path / "confusion.png")
    image = cv2.imread(str(tmp_path / "confusion.png"))
    assert image is not None
    assert 400 < image.shape[0] <= 14 * 120
