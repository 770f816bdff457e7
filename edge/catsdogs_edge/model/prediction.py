"""From what a model gives for an image to an answer (one of its classes, or neither), and the fields of its row."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from catsdogs_edge.model.class_maps import ImageMaps, Map
from catsdogs_edge.model.contract import NEITHER


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about one image."""

    label: str
    """Name of the most probable class, or `NEITHER`."""
    probability: float
    """Probability of the label, 0 to 1; for `NEITHER`, 1 less the familiarity."""
    probabilities: Mapping[str, float]
    """By class, in the order of `Contract.classes`, given that it is one of them; they add up to 1."""
    familiarity: float | None = None
    """How much the image looks like those that the model learned from, 0 to 1; None if the model has no such score."""
    maps: ImageMaps | None = field(default=None, repr=False, compare=False)
    """What each part of the image says; None where nobody asked."""

    @property
    def map(self) -> Map | None:
        """What each part of the image says for the label, shape (H, W), float32; None where nobody asked."""
        return None if self.maps is None else self.maps.evidence(self.label)

    @property
    def problem(self) -> str:
        """Says why this is no answer; empty where it is one."""
        numbers = (*self.probabilities.values(), self.familiarity or 0.0)
        return "" if all(map(math.isfinite, numbers)) else "the model's answer is not a finite number"

    def __str__(self) -> str:
        return f"{self.label} {percent(self.probability).strip()}"


def decide(
    probabilities: Sequence[float],
    familiarity: float | None,
    classes: Sequence[str],
    threshold: float | None,
    maps: ImageMaps | None = None,
) -> Prediction:
    """Decides about one image, by a probability for each class and its familiarity, if the model has that score.

    `threshold` is the least familiarity of what is not `NEITHER`; None: that is never the answer.
    """
    named = dict(zip(classes, probabilities, strict=True))
    if threshold is not None and familiarity is not None and familiarity < threshold:
        return Prediction(NEITHER, 1 - familiarity, named, familiarity, maps)
    best = max(named, key=named.__getitem__)
    return Prediction(best, named[best], named, familiarity, maps)


def percent(probability: float) -> str:
    """Writes a probability for people, six characters wide; what is not certain is not shown as that."""
    return ">99.9%" if probability >= 0.9995 else f"{probability:6.1%}"


def prediction_columns(classes: Sequence[str]) -> list[str]:
    """Returns the columns of a CSV that `prediction_fields` fill."""
    return ["label", "probability", "familiarity", *classes]


def prediction_fields(prediction: Prediction | None, classes: Sequence[str]) -> dict[str, Any]:
    """Returns what every kind of row says about an image, rounded to six places; None for what is not known.

    `CsvRows` writes `probabilities` as a column for each class.
    """
    if prediction is None:
        return dict.fromkeys(("label", "probability", "familiarity", "probabilities"))
    familiarity = prediction.familiarity
    return {
        "label": prediction.label,
        "probability": round(prediction.probability, 6),
        "familiarity": None if familiarity is None else round(familiarity, 6),
        "probabilities": {name: round(value, 6) for name, value in prediction.probabilities.items()},
    }


def file_fields(path: str | None, prediction: Prediction | None, error: str, classes: Sequence[str]) -> dict[str, Any]:
    """Returns what the row of an image file says: where it lies, what it shows, or the error."""
    return {"path": path, **prediction_fields(prediction, classes), "error": error or None}
