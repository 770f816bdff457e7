"""Refuses a model that is worse than the one that it is to replace, on any kind of images."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from catsdogs_edge.errors import DataError, ParityError
from catsdogs_edge.evaluation.paired import SourceChange, by_source
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.model.contract import Precision
from catsdogs_edge.runtime.providers import Provider
from catsdogs_export.predictors import load_batches
from catsdogs_export.run_folder import LabelledImage

_log = logging.getLogger(__name__)

VALIDATION = "validation images"
"""Source of images of a run that names none."""


class SourceDifference(SourceChange, frozen=True, kw_only=True):
    """How the new model answers the images of one source; a class that is taken for "neither" is a wrong answer."""

    allowed: int
    """Right answers that may be lost."""

    @property
    def is_worse(self) -> bool:
        """Whether more is lost than may be."""
        return self.before - self.after > self.allowed

    def describe(self) -> str:
        """Describes it in one line."""
        low, high = self.interval
        return (
            f"{self.source}: {self.after} of {self.images} right, before {self.before}; {self.fixed} fixed, "
            f"{self.broken} broken (points lost, 95 %: {low:+.2f} to {high:+.2f}; {self.allowed} answers may be lost)"
        )


class WorseError(ParityError):
    """The new model is worse; `differences` tells where."""

    def __init__(self, differences: Sequence[SourceDifference], model: Path, precision: Precision) -> None:
        worse = [item for item in differences if item.is_worse]
        super().__init__(
            f"{precision.value} is worse than {model} on {'; '.join(item.describe() for item in worse)}. Nothing is "
            "published. Look at the labels of the new images (changes.csv of the run), or collect more of them"
        )
        self.differences = tuple(differences)


class Predecessor:
    """The model that is to be replaced."""

    def __init__(self, model: Path, classes: Sequence[str]) -> None:
        """Opens its file.

        Raises `ModelError` where it cannot be used, `DataError` where it knows other classes.
        """
        self._model = model
        self._old = Classifier.load(model, Provider.CPU)
        if list(self._old.contract.classes) != list(classes):
            ours, theirs = ", ".join(classes), ", ".join(self._old.contract.classes)
            raise DataError(f"--not-worse-than {model} knows the classes {theirs}, the new model {ours}")

    def compare(
        self, candidates: Mapping[Precision, Classifier], images: Sequence[LabelledImage], max_drop: float
    ) -> dict[Precision, list[SourceDifference]]:
        """Asks it and the new models about the same images, source by source.

        Args:
            candidates: The new models.
            images: That neither has learned from: old ones, and those of each source of new ones.
            max_drop: Accuracy that may be lost, in percentage points, rounded down to whole images of a source.

        Raises:
            WorseError: A new one loses more on one of the sources.
        """
        _log.info("against %s: %d images", self._model, len(images))
        before = _right(self._old, images)
        sources = [image.source or VALIDATION for image in images]
        found = {}
        for precision, candidate in candidates.items():
            found[precision] = [
                SourceDifference(**structs.asdict(change), allowed=math.floor(change.images * max_drop / 100 + 1e-9))
                for change in by_source(before, _right(candidate, images), sources)
            ]
            if any(item.is_worse for item in found[precision]):
                raise WorseError(found[precision], self._model, precision)
        return found


def _right(model: Classifier, images: Sequence[LabelledImage]) -> NDArray[np.bool_]:
    """Returns which answers of a model are right, shape (N,): those that it gives on a device, "neither" included."""
    answers = [
        prediction.label
        for batch in load_batches(images, model.contract.image_size)
        for prediction in model.decide(model.predict(batch))
    ]
    truth = [model.contract.classes[image.label] for image in images]
    return np.array([answer == label for answer, label in zip(answers, truth, strict=True)])
