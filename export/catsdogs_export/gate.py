"""Refuses a model that is worse than the one that it is to replace, on any kind of images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from catsdogs_edge.errors import DataError, ParityError
from catsdogs_edge.evaluation.paired import SourceChange, by_source
from catsdogs_edge.model.classifier import Classifier
from catsdogs_edge.runtime.providers import Provider
from catsdogs_export.predictors import load_batches
from catsdogs_export.run_folder import LabelledImage

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

    def __init__(self, differences: Sequence[SourceDifference], model: Path) -> None:
        worse = [item for item in differences if item.is_worse]
        super().__init__(
            f"worse than {model} on {'; '.join(item.describe() for item in worse)}. Nothing is published. Look at the "
            "labels of the new images (changes.csv of the run), or collect more of them"
        )
        self.differences = tuple(differences)


def require_not_worse(
    candidate: Classifier, model: Path, images: Sequence[LabelledImage], max_drop: float
) -> list[SourceDifference]:
    """Asks two models about the same images, source by source.

    Args:
        candidate: The new model.
        model: The file of the one that it is to replace.
        images: That neither has learned from: old ones, and those of each source of new ones.
        max_drop: Accuracy that may be lost, in percentage points, rounded down to whole images of a source.

    Raises:
        DataError: They know different classes.
        ModelError: The old file cannot be used.
        WorseError: The new one loses more on one of the sources.
    """
    old = load_old(model, candidate.contract.classes)
    before, after = (_right(each, images) for each in (old, candidate))
    sources = [image.source or VALIDATION for image in images]
    found = [
        SourceDifference(**structs.asdict(change), allowed=int(change.images * max_drop / 100))
        for change in by_source(before, after, sources)
    ]
    if any(item.is_worse for item in found):
        raise WorseError(found, model)
    return found


def load_old(model: Path, classes: Sequence[str]) -> Classifier:
    """Opens the file that is to be replaced; raises `DataError` where it knows other classes."""
    old = Classifier.load(model, Provider.CPU)
    if list(old.contract.classes) != list(classes):
        ours, theirs = ", ".join(classes), ", ".join(old.contract.classes)
        raise DataError(f"--not-worse-than {model} knows the classes {theirs}, the new model {ours}")
    return old


def _right(model: Classifier, images: Sequence[LabelledImage]) -> NDArray[np.bool_]:
    """Returns which answers of a model are right, shape (N,): those that it gives on a device, "neither" included."""
    answers = [
        prediction.label
        for batch in load_batches(images, model.contract.image_size)
        for prediction in model.decide(model.predict(batch))
    ]
    truth = [model.contract.classes[image.label] for image in images]
    return np.array([answer == label for answer, label in zip(answers, truth, strict=True)])
