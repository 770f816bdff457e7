"""What a network gives for images, and how it becomes probabilities."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from catsdogs_edge.model.class_maps import BatchMaps

Scores: TypeAlias = NDArray[np.float32]
"""One row for each image and one column for each class, shape (N, C), float32."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model gives for a batch of N images, all float32."""

    logits: Scores
    """Shape (N, C)."""
    probabilities: Scores
    """Softmax of the logits, divided by the model's temperature, shape (N, C); each row adds up to 1."""
    familiarity: Scores | None
    """Shape (N,), 0 to 1; None if the model has no such score."""
    maps: BatchMaps | None = None
    """Where in the images they come from; None where nobody asked."""

    @classmethod
    def concatenate(cls, parts: Iterable["Outputs"]) -> "Outputs":
        """Joins the outputs for several batches, at least one; without maps."""
        every = list(parts)
        scores = [part.familiarity for part in every if part.familiarity is not None]
        return cls(
            np.concatenate([part.logits for part in every]),
            np.concatenate([part.probabilities for part in every]),
            np.concatenate(scores) if scores else None,
        )


def softmax(logits: Scores, temperature: float = 1.0) -> Scores:
    """Turns logits (N, C), divided by a temperature, into probabilities (N, C)."""
    scaled = logits if temperature == 1 else logits / np.float32(temperature)
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
