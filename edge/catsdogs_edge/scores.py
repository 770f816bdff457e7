"""What a network gives for pictures, and how it becomes probabilities."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Scores: TypeAlias = NDArray[np.float32]
"""One row for each picture and one column for each class, shape (N, C), float32."""


def softmax(logits: Scores) -> Scores:
    """Turns logits (N, C) into probabilities (N, C)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
