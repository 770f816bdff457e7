"""Measures how good a model is on labelled pictures, Keras or ONNX alike."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from catsdogs_edge.classifier import Classifier
from catsdogs_edge.errors import DataError, ImageError
from catsdogs_edge.folder import load_files
from catsdogs_edge.image import RgbBatch
from catsdogs_edge.metrics import Labels, accuracy_interval, auroc, calibration_error, confusion_matrix, log_loss
from catsdogs_edge.pictures import find_labelled, find_pictures
from catsdogs_edge.providers import Provider
from catsdogs_edge.scores import Scores, softmax
from catsdogs_export.models import keras_model
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
    kept: float | None
    """Share that is familiar, so not taken for "neither", 0 to 1; None if the model does not say. All other figures are
    without that rule."""
    kept_accuracy: float | None
    """Share of right labels among those."""
    others: int
    """Pictures of neither that were classified, too."""
    others_refused: float | None
    """Share of those that is not familiar, 0 to 1; None without any."""
    others_auroc: float | None
    """Probability that a picture of the classes is more familiar than one of neither: area under the ROC curve."""


def evaluate(
    data: Path, model: Path, provider: Provider, other: Path | None = None
) -> tuple[Evaluation, Scores, Labels]:
    """Classifies a folder with one folder for each class.

    Args:
        data: Its class folders must be those of the model.
        model: An ONNX file of ours, or a `model.keras` in its run folder.
        provider: For ONNX.
        other: Folder of pictures that show none of the classes.

    Returns:
        The figures, the probabilities (N, C) and the true classes (N,).

    Raises:
        DataError: The folder does not fit the model, or holds no readable picture.
        ModelError: The model cannot be used.
    """
    answer, classes, size, threshold = _open(model, provider)
    if other is not None and threshold is None:
        raise DataError(f"{model} has no familiarity score to judge {other} by: train and export it again")
    if other is not None and not other.is_dir():
        raise DataError(f"--other {other}: no such folder (expected one with pictures that show none of the classes)")
    folders, labelled = find_labelled(data)
    if set(folders) != set(classes):
        raise DataError(f"{data} has the classes {', '.join(folders)}, the model knows {', '.join(classes)}")
    label_of = {path: classes.index(folders[label]) for path, label in labelled}
    start = time.perf_counter()
    paths, probabilities, familiarity = _classify(answer, label_of, size)
    seconds = time.perf_counter() - start
    if not paths:
        raise DataError(f"{data} holds no readable picture")
    truth = np.array([label_of[path] for path in paths], np.int64)
    result = _summarize(model, classes, probabilities, truth, len(labelled) - len(truth), seconds)
    if threshold is not None:
        kept = familiarity >= threshold
        right = probabilities.argmax(axis=1) == truth
        result = replace(
            result, kept=float(kept.mean()), kept_accuracy=float(right[kept].mean()) if kept.any() else None
        )
    if other is not None and threshold is not None:
        _, _, unfamiliar = _classify(answer, find_pictures([other]), size)
        if not len(unfamiliar):
            raise DataError(f"--other {other} holds no readable picture")
        refused = float((unfamiliar < threshold).mean())
        result = replace(
            result, others=len(unfamiliar), others_refused=refused, others_auroc=auroc(familiarity, unfamiliar)
        )
    return result, probabilities, truth


def _classify(
    answer: Callable[[RgbBatch], tuple[Scores, Scores | None]], paths: Iterable[Path], size: int
) -> tuple[list[Path], Scores, Scores]:
    """Gives those that can be read, their probabilities (N, C) and their familiarity (N,), empty if there is none."""
    read, probabilities, familiarity = [], [], []
    for chunk in load_files(paths, size):
        images = []
        for path, item in chunk:
            if isinstance(item, ImageError):
                _log.info("left out: %s: %s", path, item)
            else:
                images.append(item)
                read.append(path)
        if images:
            both = answer(np.stack(images))
            probabilities.append(both[0])
            familiarity.append(both[1] if both[1] is not None else np.zeros(0, np.float32))
    nothing = np.zeros(0, np.float32)
    return read, np.concatenate([*probabilities]) if read else nothing, np.concatenate([nothing, *familiarity])


def _open(
    model: Path, provider: Provider
) -> tuple[Callable[[RgbBatch], tuple[Scores, Scores | None]], tuple[str, ...], int, float | None]:
    """Gives what turns pictures into probabilities and familiarity, the classes, the image size, and the threshold."""
    if model.suffix == ".keras":
        run = RunFolder.load(model.parent)
        network = keras_model(run.load_network())

        def answer(batch: RgbBatch) -> tuple[Scores, Scores | None]:
            answers = network(batch)
            return softmax(answers.logits / np.float32(run.temperature)), answers.familiarity

        rule = run.familiarity
        return answer, run.classes, run.image_size, rule.threshold if rule else None
    classifier = Classifier.load(model, provider)
    contract = classifier.contract
    return classifier.assess, contract.classes, contract.image_size, classifier.threshold


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
        kept=None,
        kept_accuracy=None,
        others=0,
        others_refused=None,
        others_auroc=None,
    )
