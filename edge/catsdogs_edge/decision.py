"""From what a model gives for a picture to an answer: one of its classes, or neither of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from catsdogs_edge.contract import NEITHER


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about one picture."""

    label: str
    """Name of the most probable class, or `NEITHER`."""
    probability: float
    """Of that label, 0 to 1; of `NEITHER`, what familiarity lacks of 1."""
    probabilities: tuple[float, ...]
    """One for each class, in the order of `Contract.classes`, given that it is one of them; they add up to 1."""
    familiarity: float | None = None
    """How much the picture looks like those that the model learned from, 0 to 1; None if the model does not say."""


def decide(
    probabilities: Sequence[float], familiarity: float | None, classes: Sequence[str], threshold: float | None
) -> Prediction:
    """Decides about one picture.

    Args:
        probabilities: One for each class; they add up to 1.
        familiarity: 0 to 1, or None if the model does not say.
        classes: Names, in the order of the probabilities.
        threshold: Least familiarity of what is not `NEITHER`; None: that is never the answer.
    """
    values = tuple(probabilities)
    if threshold is not None and familiarity is not None and familiarity < threshold:
        return Prediction(NEITHER, 1 - familiarity, values, familiarity)
    best = max(range(len(values)), key=values.__getitem__)
    return Prediction(classes[best], values[best], values, familiarity)
