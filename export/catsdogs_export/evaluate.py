"""Measures how good a model is on labelled images, Keras or ONNX alike."""

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct, field
from sklearn.metrics import confusion_matrix, roc_auc_score

from catsdogs_edge.classify.batching import load_files
from catsdogs_edge.errors import DataError, ImageError, ModelError
from catsdogs_edge.evaluation.metrics import Labels, accuracy_interval, calibration_error, log_loss
from catsdogs_edge.images.discovery import find_images, find_labelled
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.scores import Outputs, Scores
from catsdogs_edge.runtime.providers import Provider
from catsdogs_export.predictors import KerasPredictor, Predictor
from catsdogs_export.run_folder import RunFolder

_log = logging.getLogger(__name__)


class Evaluation(Struct, frozen=True, kw_only=True):
    """Figures about one model on one folder."""

    model: str
    classes: tuple[str, ...]
    """Names, in the order of the matrix."""
    images: int = field(name="pictures")
    unreadable: int
    accuracy: float
    """Share of right labels, 0 to 1."""
    accuracy_interval: tuple[float, float]
    """Its 95 % interval (Wilson)."""
    class_accuracy: dict[str, float]
    """Share of right labels among the images of each class."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts; rows are the true classes, columns the answers."""
    calibration_error: float
    """Expected calibration error in 15 bins, 0 to 1."""
    log_loss: float
    """Mean negative log-likelihood of the true class, in nats."""
    images_per_second: float = field(name="pictures_per_second")
    """Decoding and inference together."""
    kept: float | None = None
    """Share that is familiar, so not taken for "neither", 0 to 1; None if the model does not say. All other figures are
    without that rule."""
    kept_accuracy: float | None = None
    """Share of right labels among those."""
    outliers: int = field(default=0, name="others")
    """Images of neither that were classified, too."""
    outliers_refused: float | None = field(default=None, name="others_refused")
    """Share of those that is not familiar, 0 to 1; None without any."""
    outliers_auroc: float | None = field(default=None, name="others_auroc")
    """Probability that an image of the classes is more familiar than one of neither: area under the ROC curve."""


def evaluate(
    data: Path, model: Path, provider: Provider, other: Path | None = None
) -> tuple[Evaluation, Scores, Labels]:
    """Classifies a folder with one folder for each class of a model: an ONNX file, or a run's `model.keras`.

    `other` holds images that show none of the classes. Returns the figures, the probabilities (N, C) and the true
    classes (N,). Raises `DataError` where the folder does not fit the model or holds no readable image, `ModelError`
    for a model that cannot be used.
    """
    predictor = _open(model, provider)
    classes, rule = predictor.contract.classes, predictor.contract.familiarity
    if other is not None and rule is None:
        raise DataError(f"{model} has no familiarity score to judge {other} by: train and export it again")
    if other is not None and not other.is_dir():
        raise DataError(f"--other {other}: no such folder (expected one with images that show none of the classes)")
    folders, labelled = find_labelled(data)
    if set(folders) != set(classes):
        raise DataError(f"{data} has the classes {', '.join(folders)}, the model knows {', '.join(classes)}")
    label_of = {path: classes.index(folders[label]) for path, label in labelled}
    start = time.perf_counter()
    paths, outputs = _predict_files(predictor, label_of, data)
    seconds = time.perf_counter() - start
    _, outlier_outputs = _predict_files(predictor, find_images([other]), other) if other else ([], None)
    truth = np.array([label_of[path] for path in paths], np.int64)
    matrix = confusion_matrix(truth, outputs.probabilities.argmax(axis=1), labels=range(len(classes)))
    hits, totals, count = int(matrix.trace()), matrix.sum(axis=1), len(truth)
    evaluation = Evaluation(
        model=str(model),
        classes=classes,
        images=count,
        unreadable=len(labelled) - count,
        accuracy=hits / count,
        accuracy_interval=accuracy_interval(hits, count),
        class_accuracy={name: float(matrix[n, n] / totals[n]) for n, name in enumerate(classes) if totals[n]},
        confusion=tuple(tuple(int(value) for value in row) for row in matrix),
        calibration_error=calibration_error(outputs.probabilities, truth),
        log_loss=log_loss(outputs.probabilities, truth),
        images_per_second=count / seconds,
        **({} if rule is None else _measure_familiarity(outputs, truth, outlier_outputs, rule.threshold)),
    )
    return evaluation, outputs.probabilities, truth


def _measure_familiarity(
    outputs: Outputs, truth: Labels, outlier_outputs: Outputs | None, threshold: float
) -> dict[str, Any]:
    """Returns the figures about what is taken for "neither"."""
    if outputs.familiarity is None:
        return {}
    kept = outputs.familiarity >= threshold
    right = outputs.probabilities.argmax(axis=1) == truth
    kept_accuracy = float(right[kept].mean()) if kept.any() else None
    found: dict[str, Any] = {"kept": float(kept.mean()), "kept_accuracy": kept_accuracy}
    if outlier_outputs is not None and outlier_outputs.familiarity is not None:
        scores = np.concatenate([outputs.familiarity, outlier_outputs.familiarity])
        sides = np.repeat([1, 0], [len(outputs.familiarity), len(outlier_outputs.familiarity)])
        found |= {
            "outliers": len(outlier_outputs.familiarity),
            "outliers_refused": float((outlier_outputs.familiarity < threshold).mean()),
            "outliers_auroc": float(roc_auc_score(sides, scores)),
        }
    return found


def _predict_files(predictor: Predictor, paths: Iterable[Path], folder: Path) -> tuple[list[Path], Outputs]:
    """Returns the files that can be read, and the outputs for them.

    Raises `DataError` where none can, `ModelError` where an answer is not a finite number.
    """
    readable, outputs = [], []
    for chunk in load_files(paths, predictor.contract.image_size):
        images = []
        for path, item in chunk:
            if isinstance(item, ImageError):
                _log.info("left out: %s: %s", path, item)
            else:
                images.append(item)
                readable.append(path)
        if images:
            outputs.append(predictor.predict(np.stack(images)))
            _require_finite(outputs[-1], readable[-len(images) :])
    if not readable:
        raise DataError(f"{folder} holds no readable image")
    return readable, Outputs.concatenate(outputs)


def _require_finite(outputs: Outputs, paths: Sequence[Path]) -> None:
    """Raises `ModelError` where an answer is not a finite number; it names the first such image."""
    is_finite = np.isfinite(outputs.probabilities).all(axis=1)
    if outputs.familiarity is not None:
        is_finite &= np.isfinite(outputs.familiarity)
    if not is_finite.all():
        path = paths[int(np.argmin(is_finite))]
        raise ModelError(f"the model's answer for {path} is not a finite number: it cannot be measured")


def _open(model: Path, provider: Provider) -> Predictor:
    if model.suffix != ".keras":
        return Classifier.load(model, provider)
    if provider not in {Provider.AUTO, Provider.CPU}:
        raise DataError(f"--provider {provider.value} is for an ONNX file: {model} runs where TensorFlow puts it")
    run = RunFolder.load(model.parent)
    if model.name != run.model.name:
        raise DataError(f"{model}: expected {run.model}, as run.json describes that one alone")
    return KerasPredictor(run.load_network(), run.contract)
