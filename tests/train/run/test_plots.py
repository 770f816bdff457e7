"""Plots of what is larger than usual; those of a usual run are in the run folder of the other tests."""

import csv
import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from catsdogs_train.run.history import Epoch
from catsdogs_train.run.plots import plot_confusion, plot_curves
from tests.train.trainings import FINE_TUNING, HEAD, Training


@pytest.mark.parametrize("classes", [2, 19, 20, 300])
def test_a_confusion_matrix_of_many_classes_stays_an_image_one_can_open(classes: int, tmp_path: Path) -> None:
    truth = np.arange(3 * classes) % classes
    probabilities = np.eye(classes, dtype=np.float32)[truth]
    plot_confusion(probabilities, truth, [f"class {number}" for number in range(classes)], tmp_path / "confusion.png")
    image = cv2.imread(str(tmp_path / "confusion.png"))
    assert image is not None
    assert 400 < image.shape[0] <= 14 * 120


@pytest.mark.slow
def test_the_last_curves_have_all_epochs_of_a_training_of_seconds(training: Training, tmp_path: Path) -> None:
    run, _ = training.undisturbed("tensorflow")
    with (run / "history.csv").open(newline="") as stream:
        history = [msgspec.convert(row, Epoch, strict=False) for row in csv.DictReader(stream)]
    assert len(history) == HEAD + FINE_TUNING
    best = json.loads((run / "run.json").read_text())["best_epoch"]["epoch"] - 1
    plot_curves(history, best, tmp_path / "curves.png")
    assert (run / "curves.png").read_bytes() == (tmp_path / "curves.png").read_bytes()
