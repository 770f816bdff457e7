"""Measures how good a model is on labelled pictures, Keras or ONNX alike."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.errors import DataError, ImageError
from catsdogs_edge.folder import load_files
from catsdogs_edge.metrics import Labels, accuracy_interval, calibration_error, confusion_matrix, log_loss
from catsdogs_edge.pictures import find_labelled
from catsdogs_edge.providers import Provider
from catsdogs_edge.scores import Scores, softmax
from catsdogs_export.models import Model, keras_model
from catsdogs_export.run_folder import RunFolder

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures about one model on one folder."""

    model: str
    """File that was evaluated."""
    classes: tuple[str, ...]
    """In the order of the matrix."""
    pictures: int
    """How many were classified."""
    unreadable: int
    """How many could not be read; they count nowhere else."""
    accuracy: float
    """Share of right labels, 0 to 1."""
    accuracy_interval: tuple[float, float]
    """Of 95 % (Wilson)."""
    class_accuracy: dict[str, float]
    """Share of right labels among the pictures of each class."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts; rows are the true classes, columns the answers."""
    calibration_error: float
    """Expected calibration error in 15 bins, 0 to 1."""
    log_loss: float
    """Mean negative log-likelihood of the true class, in nats."""
    pictures_per_second: float
    """Decoding and inference together."""


def evaluate(data: Path, model: Path, provider: Provider) -> tuple[Evaluation, Scores, Labels]:
    """Classifies a folder with one folder for each class.

    Args:
        data: Its class folders must be those of the model.
        model: An ONNX file of ours, or a `model.keras` in its run folder.
        provider: For ONNX.

    Returns:
        The figures, the probabilities (N, C) and the true classes (N,).

    Raises:
        DataError: The folder does not fit the model, or holds no readable picture.
        ModelError: The model cannot be used.
    """
    answer, classes, size = _open(model, provider)
    folders, labelled = find_labelled(data)
    if set(folders) != set(classes):
        raise DataError(f"{data} has the classes {', '.join(folders)}, the model knows {', '.join(classes)}")
    label_of = {path: classes.index(folders[label]) for path, label in labelled}
    start = time.perf_counter()
    scores, truth = [], []
    for chunk in load_files(label_of, size):
        images = []
        for path, item in chunk:
            if isinstance(item, ImageError):
                _log.info("left out: %s: %s", path, item)
            else:
                images.append(item)
                truth.append(label_of[path])
        if images:
            scores.append(answer(np.stack(images)))
    seconds = time.perf_counter() - start
    if not truth:
        raise DataError(f"{data} holds no readable picture")
    probabilities = np.concatenate(scores)
    return (
        _summarize(model, classes, probabilities, np.array(truth), len(labelled) - len(truth), seconds),
        probabilities,
        np.array(truth),
    )


def _open(model: Path, provider: Provider) -> tuple[Model, tuple[str, ...], int]:
    """Gives what turns pictures into probabilities, the classes and the image size."""
    if model.suffix == ".keras":
        run = RunFolder.load(model.parent)
        logits = keras_model(run.load_network())
        return lambda batch: softmax(logits(batch) / np.float32(run.temperature)), run.classes, run.image_size
    classifier = Classifier.load(model, provider)
    return classifier.probabilities, classifier.contract.classes, classifier.contract.image_size


def _summarize(
    model: Path, classes: tuple[str, ...], probabilities: Scores, truth: Labels, unreadable: int, seconds: float
) -> Evaluation:
    matrix = confusion_matrix(truth, probabilities.argmax(axis=1), len(classes))
    hits, count = int(matrix.trace()), len(truth)
    return Evaluation(
        model=str(model),
        classes=classes,
        pictures=count,
        unreadable=unreadable,
        accuracy=hits / count,
        accuracy_interval=accuracy_interval(hits, count),
        class_accuracy={
            name: float(matrix[place, place] / matrix[place].sum())
            for place, name in enumerate(classes)
            if matrix[place].sum()
        },
        confusion=tuple(tuple(int(value) for value in row) for row in matrix),
        calibration_error=calibration_error(probabilities, truth),
        log_loss=log_loss(probabilities, truth),
        pictures_per_second=count / seconds,
    )
